/* What differs between the machines with Arm's CMSDK peripherals (MPS2: AN385, AN386; MPS3: AN547). */
#ifndef TFL_CMSDK_BOARD_H
#define TFL_CMSDK_BOARD_H

#if defined(TFL_BOARD_AN547)
#define UART_BASE 0x59303000u
#define UART_RX_INTERRUPT 33
#define TICKS_SYSTICK 1
#else
#define UART_BASE 0x40004000u
#define UART_RX_INTERRUPT 0
#define TICKS_SYSTICK 0
#endif

#define TIMER_BASE 0x40000000u
#define BAUD_DIVISOR 217u /* 25 MHz / 115,200; an emulator only wants it to be at least 16 */

#endif
