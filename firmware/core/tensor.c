#include "tensor.h"

uint32_t tfl_tensor_free(const struct tfl_tensor *tensor)
{
    uint32_t learning = tensor->count;

    for (uint32_t i = 0; i < tensor->count; i++) {
        learning -= tfl_tensor_holds(tensor, i);
    }
    return learning;
}

/* |broadcast * 2^16| < 2^30 */
void tfl_tensor_start(const struct tfl_tensor *tensor)
{
    for (uint32_t i = tensor->count; i-- > 0u;) {
        tensor->master[i] = tensor->broadcast[i] * 65536;
    }
}

void tfl_tensor_choose(const struct tfl_tensor *tensor)
{
    for (uint32_t i = tensor->count; i-- > 0u;) {
        tensor->broadcast[i] = (int16_t)tfl_tensor_rounded(tensor, i);
    }
}

void tfl_tensor_pull(const struct tfl_tensor *tensor, uint8_t *weights)
{
    for (uint32_t i = 0; i < tensor->count; i++) {
        tfl_store16_le(weights + 2u * i, (uint16_t)(tfl_tensor_rounded(tensor, i) & 0xFFFF));
    }
}
