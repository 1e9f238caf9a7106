/* Compile-time limits; override with -D. */
#ifndef TFL_CONFIG_H
#define TFL_CONFIG_H

#ifndef TFL_CHUNK
#define TFL_CHUNK 512u /* body bytes of one frame, at most: a multiple of TFL_UNIT that holds a WELCOME */
#endif

#ifndef TFL_MAX_UNITS
#define TFL_MAX_UNITS 1024u /* of one request: its body <= TFL_MAX_UNITS * TFL_UNIT; a bit each */
#endif

#ifndef TFL_FEEDBACK
#define TFL_FEEDBACK 1 /* 0: no memory for error feedback, which takes four bytes for each weight of the head */
#endif

#ifndef TFL_ADAPTER
#define TFL_ADAPTER 1 /* 0: no code for an adapter, which few models have; the build of a model without one says so */
#endif

#ifndef TFL_RETAINED
#define TFL_RETAINED /* attribute of what a reset shall not clear: a section that the start-up code leaves alone */
#endif

#if defined(__GNUC__)
#define TFL_CHECKED __attribute__((warn_unused_result))
#define TFL_NOINLINE __attribute__((noinline)) /* keeps a large frame off the stack of what it is called from */
#else
#define TFL_CHECKED
#define TFL_NOINLINE
#endif

#define TFL_MAX_SAMPLES 131072u /* of one split: their losses, Q15, add up to less than 2^32 */

#endif
