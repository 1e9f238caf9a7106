/* Compile-time limits; override with -D. */
#ifndef TFL_CONFIG_H
#define TFL_CONFIG_H

#ifndef TFL_CHUNK
#define TFL_CHUNK 240u /* payload bytes of one frame, at most */
#endif

#ifndef TFL_CREDITS
#define TFL_CREDITS 2u /* frames that the host may have under way; the port's receive buffer must hold them */
#endif

#ifndef TFL_MAX_CHUNKS
#define TFL_MAX_CHUNKS 256u /* of one message body: body <= TFL_MAX_CHUNKS * TFL_CHUNK */
#endif

#if defined(__GNUC__)
#define TFL_CHECKED __attribute__((warn_unused_result))
#else
#define TFL_CHECKED
#endif

#define TFL_MAX_SAMPLES 131072u /* of one split: their losses, Q15, add up to less than 2^32 */

#endif
