/* Reads lines "x multiplier shift" and writes "requantised mix xorshift" of firmware/core/fixed.h. */
#include <inttypes.h>
#include <stdio.h>

#include "fixed.h"

int main(void)
{
    int32_t x, m, s;

    while (scanf("%" SCNd32 " %" SCNd32 " %" SCNd32, &x, &m, &s) == 3) {
        uint8_t bytes[6];

        tfl_store32_le(bytes, (uint32_t)x);
        tfl_store16_le(bytes + 4, (uint16_t)(m & 0xFFFF));
        if (tfl_load32_le(bytes) != (uint32_t)x || tfl_load16_le(bytes + 4) != (uint16_t)(m & 0xFFFF)) {
            return 1;
        }
        printf("%" PRId32 " %" PRIu32 " %" PRIu32 " %d\n", tfl_requantize(x, m, s),
               tfl_mix((uint32_t)x, (uint32_t)m, 3u, 4u), tfl_xorshift32((uint32_t)m), bytes[0]);
    }
    return 0;
}
