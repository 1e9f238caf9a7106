/* The instructions of the DSP extension that C has no words for. */
#ifndef TFL_DSP_H
#define TFL_DSP_H

#include <stdint.h>

/* Four bytes from any address: one LDR, since these CPUs load words from anywhere. */
static inline uint32_t tfl_load4(const int8_t *p)
{
    uint32_t word;

    __builtin_memcpy(&word, p, sizeof word);
    return word;
}

/* Four bytes to any address. */
static inline void tfl_store4(int8_t *p, uint32_t word)
{
    __builtin_memcpy(p, &word, sizeof word);
}

/* Two int16 from any address. */
static inline uint32_t tfl_load2(const int16_t *p)
{
    uint32_t word;

    __builtin_memcpy(&word, p, sizeof word);
    return word;
}

/* Two int16 as one word. */
static inline int32_t tfl_pair(int32_t lower, int32_t upper)
{
    return (int32_t)(((uint32_t)lower & 0xFFFFu) | (uint32_t)upper << 16);
}

/* Bytes 0 and 2 of a word as two int16. */
static inline uint32_t tfl_even(uint32_t word)
{
    uint32_t result;

    __asm("sxtb16 %0, %1" : "=r"(result) : "r"(word));
    return result;
}

/* Bytes 1 and 3. */
static inline uint32_t tfl_odd(uint32_t word)
{
    uint32_t result;

    __asm("sxtb16 %0, %1, ror #8" : "=r"(result) : "r"(word));
    return result;
}

/* The halves of acc plus bytes 0 and 2 of a word. */
static inline uint32_t tfl_add_even(uint32_t acc, uint32_t word)
{
    uint32_t result;

    __asm("sxtab16 %0, %1, %2" : "=r"(result) : "r"(acc), "r"(word));
    return result;
}

/* The same with bytes 1 and 3. */
static inline uint32_t tfl_add_odd(uint32_t acc, uint32_t word)
{
    uint32_t result;

    __asm("sxtab16 %0, %1, %2, ror #8" : "=r"(result) : "r"(acc), "r"(word));
    return result;
}

/* Four times the same byte. */
static inline uint32_t tfl_splat(int8_t byte)
{
    return (uint8_t)byte * 0x01010101u;
}

/* The larger one of each pair of bytes: SEL takes what SSUB8 found not to be negative. */
static inline uint32_t tfl_larger4(uint32_t a, uint32_t b)
{
    uint32_t result;

    __asm("ssub8 %0, %1, %2\n\t"
          "sel %0, %1, %2"
          : "=&r"(result)
          : "r"(a), "r"(b)
          : "cc");
    return result;
}

static inline uint32_t tfl_smaller4(uint32_t a, uint32_t b)
{
    uint32_t result;

    __asm("ssub8 %0, %1, %2\n\t"
          "sel %0, %2, %1"
          : "=&r"(result)
          : "r"(a), "r"(b)
          : "cc");
    return result;
}

/* acc + the products of the lower and of the upper halves of a and b. */
static inline int32_t tfl_smlad(uint32_t a, uint32_t b, int32_t acc)
{
    int32_t result;

    __asm("smlad %0, %1, %2, %3" : "=r"(result) : "r"(a), "r"(b), "r"(acc));
    return result;
}

/* acc + upper half of a times lower half of b. */
static inline int32_t tfl_smlatb(uint32_t a, uint32_t b, int32_t acc)
{
    int32_t result;

    __asm("smlatb %0, %1, %2, %3" : "=r"(result) : "r"(a), "r"(b), "r"(acc));
    return result;
}

#endif
