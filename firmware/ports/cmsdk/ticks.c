#include "ticks.h"

#include "board.h"
#include "start.h"

#if TICKS_SYSTICK /* the MPS3 machine has no CMSDK timer: 24 bits and an interrupt for each wrap */

#define SYST_CSR TFL_REGISTER(0xE000E010u)
#define SYST_RVR TFL_REGISTER(0xE000E014u)
#define SYST_CVR TFL_REGISTER(0xE000E018u)
#define SYST_WRAP 0x01000000u

static volatile uint32_t wrapped; /* ticks of the wraps so far */

void tfl_systick(void)
{
    wrapped += SYST_WRAP;
}

void ticks_start(void)
{
    SYST_RVR = SYST_WRAP - 1u;
    SYST_CVR = 0;
    SYST_CSR = 7u; /* CPU clock, interrupt, on */
}

/* Read again if a wrap came in between. */
uint32_t ticks_read(void)
{
    uint32_t before, count;

    do {
        before = wrapped;
        count = SYST_WRAP - 1u - SYST_CVR;
    } while (before != wrapped);
    return before + count;
}

#else

#define TIMER_CTRL TFL_REGISTER(TIMER_BASE + 0x00u)
#define TIMER_VALUE TFL_REGISTER(TIMER_BASE + 0x04u)
#define TIMER_RELOAD TFL_REGISTER(TIMER_BASE + 0x08u)

void ticks_start(void)
{
    TIMER_RELOAD = 0xFFFFFFFFu;
    TIMER_VALUE = 0xFFFFFFFFu;
    TIMER_CTRL = 1u;
}

uint32_t ticks_read(void)
{
    return ~TIMER_VALUE; /* it counts down */
}

#endif
