/* Vector table and reset of a Cortex-M, v6-M to v8.1-M. */
#include "start.h"

extern uint32_t tfl_data_start[], tfl_data_end[], tfl_bss_start[], tfl_bss_end[];
extern const uint32_t tfl_data_source[];

#define AIRCR TFL_REGISTER(0xE000ED0Cu)
#define CPACR TFL_REGISTER(0xE000ED88u)

__attribute__((section(".noinit"))) uint32_t tfl_boots;

void tfl_reset(void);
void tfl_fault(void);

/* A board that lost its way starts again; the host sees another boot id. */
void tfl_fault(void)
{
    AIRCR = 0x05FA0004u; /* SYSRESETREQ */
    for (;;) {
    }
}

__attribute__((weak, alias("tfl_fault"))) void tfl_systick(void);

__attribute__((section(".vectors"), used)) static const struct {
    uint32_t *stack;
    tfl_handler core[15];
} vectors = {
    tfl_stack_end,
    {tfl_reset, tfl_fault, tfl_fault, tfl_fault, tfl_fault, tfl_fault, tfl_fault, 0, 0, 0, tfl_fault, tfl_fault, 0,
     tfl_fault, tfl_systick},
};

/* Floating point and Helium share coprocessors 10 and 11; code for neither may run before this. */
static void enable_coprocessors(void)
{
#if defined(__ARM_FP) || defined(__ARM_FEATURE_MVE)
    CPACR |= 0xFu << 20;
    __asm volatile("dsb\n\tisb" ::: "memory");
#endif
}

/* volatile: neither may become a call to memcpy or memset, whose frame would lie in what is being painted. */
static void fill(uint32_t *start, const uint32_t *end, uint32_t value)
{
    for (volatile uint32_t *word = start; word < end; word++) {
        *word = value;
    }
}

static void copy(uint32_t *start, const uint32_t *end, const uint32_t *source)
{
    for (volatile uint32_t *word = start; word < end; word++) {
        *word = *source++;
    }
}

static void start(void)
{
    const uint32_t *top = __builtin_frame_address(0);

    fill(tfl_stack_start, top - 32, TFL_STACK_PAINT); /* 32 words: the frames under this one */
    copy(tfl_data_start, tfl_data_end, tfl_data_source);
    fill(tfl_bss_start, tfl_bss_end, 0);
    tfl_boots++;
    (void)main(0, 0);
    tfl_fault();
}

void tfl_reset(void)
{
    enable_coprocessors();
    start();
}
