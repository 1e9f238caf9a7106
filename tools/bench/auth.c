/* What tinyfl/wire/auth.py's twin costs on a Cortex-M: instructions, counted by TIMER0 of QEMU's MPS2 boards under
   -icount shift=6 (5/8 instruction a tick), printed by semihosting as "name instructions" lines. See auth.py beside it. */
#include <stdint.h>

#include "auth.h"

#define TIMER0 ((volatile uint32_t *)0x40000000u) /* control, value, reload */
#define STACK_END 0x20004000u

extern uint32_t bss_start[], bss_end[];

static uint8_t body[512], hello[TFL_HELLO_BYTES], welcome[TFL_WELCOME_BYTES], mac[TFL_MAC_BYTES];
static const uint8_t key[TFL_KEY_BYTES];
static struct tfl_auth auth;
static volatile int held;

static uint32_t semihosting(uint32_t operation, const void *argument)
{
    register uint32_t r0 __asm("r0") = operation;
    register const void *r1 __asm("r1") = argument;

    __asm volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

static void print(const char *name, uint32_t value)
{
    char digits[11] = {0};
    char *digit = digits + 10;

    do {
        *--digit = (char)('0' + value % 10u);
        value /= 10u;
    } while (value > 0u);
    semihosting(0x04u, name);
    semihosting(0x04u, digit);
    semihosting(0x04u, "\n");
}

static uint32_t now(void)
{
    __asm volatile("" ::: "memory");
    return 0xFFFFFFFFu - TIMER0[1];
}

#define MEASURE(name, call)                                          \
    do {                                                             \
        uint32_t start = now();                                      \
        call;                                                        \
        print(name " ", ((now() - start - empty) * 5u + 4u) / 8u);   \
    } while (0)

void start(void);
void start(void)
{
    static const uint32_t done[2] = {0x20026u, 0};
    uint32_t empty;

    for (uint32_t *word = bss_start; word < bss_end; word++) {
        *word = 0;
    }
    TIMER0[2] = TIMER0[1] = 0xFFFFFFFFu;
    TIMER0[0] = 1u;
    empty = now();
    empty = now() - empty;
    tfl_auth_init(&auth, key);
    MEASURE("hello", tfl_auth_nonce(&auth, 1, 2, 3, mac);
            tfl_auth_welcome(&auth, hello, sizeof hello, welcome, sizeof welcome));
    MEASURE("mac-0", tfl_auth_mac(&auth, 1, 2, 3, body, 0, mac));
    MEASURE("mac-239", tfl_auth_mac(&auth, 1, 2, 3, body, 8u + 231u, mac));
    MEASURE("mac-479", tfl_auth_mac(&auth, 1, 2, 3, body, 17u + 462u, mac));
    MEASURE("holds-479", held = tfl_auth_holds(&auth, 2, 3, body, 17u + 462u, mac));
    semihosting(0x20u, done);
}

__attribute__((section(".vectors"), used)) static const uintptr_t vectors[] = {STACK_END, (uintptr_t)start};
