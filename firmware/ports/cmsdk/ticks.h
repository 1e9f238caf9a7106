/* A free-running counter that counts instructions where the emulator runs with -icount. */
#ifndef TFL_CMSDK_TICKS_H
#define TFL_CMSDK_TICKS_H

#include <stdint.h>

/* instructions = ticks * TICKS_NUMERATOR / TICKS_DENOMINATOR */
#if defined(TFL_BOARD_AN547)
#define TICKS_NUMERATOR 125u /* 32 MHz under -icount shift=5: 1.024 ticks an instruction */
#define TICKS_DENOMINATOR 128u
#else
#define TICKS_NUMERATOR 5u /* 25 MHz under -icount shift=6: 1.6 ticks an instruction */
#define TICKS_DENOMINATOR 8u
#endif

void ticks_start(void);
uint32_t ticks_read(void);

#endif
