/* nRF51822, as on the BBC micro:bit V1: the same image runs on the board and in QEMU. */
#include <string.h>

#include "flash.h"
#include "line.h"
#include "samples.h"
#include "start.h"
#include "tfl/tfl_port.h"

#define CLOCK(offset) TFL_REGISTER(0x40000000u + (offset))
#define UART(offset) TFL_REGISTER(0x40002000u + (offset))
#define TIMER0(offset) TFL_REGISTER(0x40008000u + (offset))
#define RNG(offset) TFL_REGISTER(0x4000D000u + (offset))

#define FICR_DEVICE_ID(word) TFL_REGISTER(0x10000060u + 4u * (word))
#define QEMU_DEVICE_ID_0 0x00000003u /* that of every chip in QEMU */
#define QEMU_DEVICE_ID_1 0x12345678u

#define UART_INTERRUPT 2
#define PIN_TXD 24u
#define PIN_RXD 25u
#define BAUD_115200 0x01D7E000u

/* 16 MHz. On the chip a tick is a cycle; under QEMU's -icount shift=6 an instruction takes 1.024 ticks. */
#define TICKS_NUMERATOR 125u
#define TICKS_DENOMINATOR 128u

static void receive(void)
{
    while (UART(0x108u) != 0u) { /* RXDRDY */
        UART(0x108u) = 0;
        tfl_line_put((uint8_t)UART(0x518u));
    }
}

TFL_INTERRUPTS interrupts[UART_INTERRUPT + 1] = {[UART_INTERRUPT] = receive};

/* The UART needs the crystal's 16 MHz; a model that never reports them must not hold the board up. */
static void clock_start(void)
{
    CLOCK(0x100u) = 0; /* HFCLKSTARTED */
    CLOCK(0x000u) = 1; /* HFCLKSTART */
    for (unsigned wait = 0; wait < 100000u && CLOCK(0x100u) == 0u; wait++) {
    }
}

static void uart_start(void)
{
    TFL_REGISTER(0x50000508u) = 1u << PIN_TXD; /* GPIO OUTSET: the line idles high */
    TFL_REGISTER(0x50000518u) = 1u << PIN_TXD; /* DIRSET */
    UART(0x50Cu) = PIN_TXD;
    UART(0x514u) = PIN_RXD;
    UART(0x524u) = BAUD_115200;
    UART(0x500u) = 4; /* ENABLE */
    UART(0x304u) = 4; /* INTENSET: RXDRDY */
    tfl_interrupt_enable(UART_INTERRUPT);
    UART(0x000u) = 1; /* STARTRX */
    UART(0x008u) = 1; /* STARTTX */
}

static int uart_write(void *context, const uint8_t *data, size_t size)
{
    (void)context;
    for (size_t i = 0; i < size; i++) {
        UART(0x11Cu) = 0; /* TXDRDY */
        UART(0x51Cu) = data[i];
        while (UART(0x11Cu) == 0u) {
        }
    }
    return (int)size;
}

static void ticks_start(void)
{
    TIMER0(0x504u) = 0; /* MODE: timer */
    TIMER0(0x508u) = 3; /* BITMODE: 32 */
    TIMER0(0x510u) = 0; /* PRESCALER: 1 */
    TIMER0(0x00Cu) = 1; /* CLEAR */
    TIMER0(0x000u) = 1; /* START */
}

static uint32_t ticks(void *context)
{
    (void)context;
    TIMER0(0x040u) = 1; /* CAPTURE 0 */
    return TIMER0(0x540u);
}

/* Four bytes of thermal noise. */
static uint32_t random_word(void *context)
{
    uint32_t word = 0;

    (void)context;
    RNG(0x000u) = 1; /* START */
    for (unsigned i = 0; i < 4u; i++) {
        RNG(0x100u) = 0; /* VALRDY */
        for (unsigned wait = 0; wait < 100000u && RNG(0x100u) == 0u; wait++) {
        }
        word = word << 8 | (RNG(0x508u) & 0xFFu);
    }
    RNG(0x004u) = 1; /* STOP */
    return word;
}

/* The chip's own number, or in QEMU what tfl_samples_open() made of the board's name. */
static void set_device(struct tfl_port *port)
{
    const uint32_t id[2] = {FICR_DEVICE_ID(0u), FICR_DEVICE_ID(1u)};

    if (id[0] != QEMU_DEVICE_ID_0 || id[1] != QEMU_DEVICE_ID_1) {
        memcpy(port->device, id, sizeof port->device);
    }
}

int tfl_port_init(struct tfl_port *port, int argc, char **argv)
{
    (void)argc;
    (void)argv;
    clock_start();
    uart_start();
    ticks_start();
    tfl_line_describe(port);
    port->write = uart_write;
    port->ticks = ticks;
    port->random = random_word;
    port->boot ^= random_word(0);
    port->tick_numerator = TICKS_NUMERATOR;
    port->tick_denominator = TICKS_DENOMINATOR;
    flash_open(port);
    tfl_samples_open(port);
    set_device(port);
    return 0;
}
