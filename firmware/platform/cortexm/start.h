/* What the start-up of a Cortex-M board offers to its port. */
#ifndef TFL_START_H
#define TFL_START_H

#include <stdint.h>

typedef void (*tfl_handler)(void);

/* Behind the sixteen core vectors: a port fills it by interrupt number. */
#define TFL_INTERRUPTS __attribute__((section(".vectors.interrupts"), used)) static const tfl_handler

#define TFL_REGISTER(address) (*(volatile uint32_t *)(address))

/* From the linker script. */
extern uint32_t tfl_stack_start[], tfl_stack_end[];
extern uint8_t tfl_cache_start[], tfl_cache_end[];

#define TFL_STACK_PAINT 0xA5A5A5A5u /* the unused stack holds it */

/* How often the board has started since its RAM was without power, from 1. */
extern uint32_t tfl_boots;

int main(int argc, char **argv);

/* Enables one interrupt of the NVIC, number 0..31 or more. */
static inline void tfl_interrupt_enable(unsigned number)
{
    TFL_REGISTER(0xE000E100u + 4u * (number / 32u)) = 1u << (number % 32u);
}

/* Overridden by a port that uses the SysTick interrupt. */
void tfl_systick(void);

#endif
