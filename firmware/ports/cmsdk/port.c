/* Boards with Arm's CMSDK UART and timer, as QEMU models them. */
#include "board.h"
#include "flash.h"
#include "line.h"
#include "samples.h"
#include "start.h"
#include "tfl/tfl_port.h"
#include "ticks.h"

#define UART_DATA TFL_REGISTER(UART_BASE + 0x00u)
#define UART_STATE TFL_REGISTER(UART_BASE + 0x04u)
#define UART_CTRL TFL_REGISTER(UART_BASE + 0x08u)
#define UART_CLEAR TFL_REGISTER(UART_BASE + 0x0Cu)
#define UART_BAUD TFL_REGISTER(UART_BASE + 0x10u)
#define STATE_TX_FULL 1u
#define STATE_RX_FULL 2u
#define CTRL_TX_RX_RXINT 0x0Bu
#define CLEAR_RX 2u

/* Cleared before the bytes are taken: one that comes in between raises the interrupt again. */
static void receive(void)
{
    UART_CLEAR = CLEAR_RX;
    while ((UART_STATE & STATE_RX_FULL) != 0u) {
        tfl_line_put((uint8_t)UART_DATA);
    }
}

TFL_INTERRUPTS interrupts[UART_RX_INTERRUPT + 1] = {[UART_RX_INTERRUPT] = receive};

static int uart_write(void *context, const uint8_t *data, size_t size)
{
    (void)context;
    for (size_t i = 0; i < size; i++) {
        while ((UART_STATE & STATE_TX_FULL) != 0u) {
        }
        UART_DATA = data[i];
    }
    return (int)size;
}

static uint32_t ticks(void *context)
{
    (void)context;
    return ticks_read();
}

static void uart_start(void)
{
    UART_BAUD = BAUD_DIVISOR;
    UART_CTRL = CTRL_TX_RX_RXINT;
    tfl_interrupt_enable(UART_RX_INTERRUPT);
}

int tfl_port_init(struct tfl_port *port, int argc, char **argv)
{
    (void)argc;
    (void)argv;
    uart_start();
    ticks_start();
    tfl_line_describe(port);
    port->write = uart_write;
    port->ticks = ticks;
    port->tick_numerator = TICKS_NUMERATOR;
    port->tick_denominator = TICKS_DENOMINATOR;
    flash_open(port);
    tfl_samples_open(port);
    return 0;
}
