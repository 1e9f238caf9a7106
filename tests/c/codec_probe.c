/* Updates on the host: each case on stdin is 7 u32 (weights, feedback, seed, stream, count, shift, codec), deltas int32,
   residuals int32, a bit for each weight that is held. To stdout go whether there is such an update, and if so max |v|,
   mean |v|, bytes of the payload, the payload, each weight that learns and its residual from then on; then the same of a
   tensor that is loaded: see `load_case`. */
#include "broadcast.h"
#include "codec.h"
#include "fixed.h"
#include "probe.h"

enum { WEIGHTS, FEEDBACK, SEED, STREAM, COUNT, SHIFT, CODEC, WORDS };

static void give_word(uint32_t word)
{
    give(&word, sizeof word);
}

static void encode(const struct tfl_tensor *tensor, const struct tfl_update *update, uint32_t weights)
{
    uint32_t room = weights + (weights + 7u) / 8u + 1u, largest, mean, size;
    uint8_t *payload = malloc(room);
    struct tfl_walk walk;

    tfl_codec_measure(tensor, update->feedback, &largest, &mean);
    size = tfl_codec_encode(tensor, update, payload);
    give_word(largest);
    give_word(mean);
    give_word(size);
    give(payload, size);
    tfl_walk_start(&walk, tensor, update);
    while (tfl_walk_next(&walk)) {
        give_word(walk.at);
        give_word((uint32_t)tfl_walk_rest(&walk));
    }
    free(payload);
}

static void update_case(const uint32_t *word)
{
    uint32_t weights = word[WEIGHTS];
    struct tfl_tensor tensor = {.count = weights};
    struct tfl_update update = {.round = 1,
                                .seed = word[SEED],
                                .stream = word[STREAM],
                                .count = (uint16_t)word[COUNT],
                                .shift = (uint8_t)word[SHIFT],
                                .codec = (uint8_t)word[CODEC],
                                .feedback = (uint8_t)word[FEEDBACK]};
    uint8_t *held;
    int status;

    tensor.master = take(4u * weights);
    tensor.residual = take(4u * weights);
    tensor.broadcast = calloc(weights, sizeof *tensor.broadcast);
    tensor.held = held = take((weights + 7u) / 8u);
    weights = tfl_tensor_free(&tensor);
    status = tfl_codec_check(&update, weights);
    give_word((uint32_t)status);
    if (status == 0) {
        encode(&tensor, &update, weights);
    }
    free(tensor.master), free(tensor.residual), free(tensor.broadcast), free(held);
}

/* weights, 2, bytes, coding, 0, 0, 0: broadcast weights int16, then the coded ones: status, what there is then. */
static void load_case(const uint32_t *word)
{
    struct tfl_tensor tensor = {.count = word[WEIGHTS]};
    uint8_t *coded;

    tensor.broadcast = take(2u * word[WEIGHTS]);
    coded = take(word[SEED]);
    give_word((uint32_t)tfl_broadcast_load(&tensor, word[STREAM], coded, word[SEED]));
    give(tensor.broadcast, 2u * word[WEIGHTS]);
    free(tensor.broadcast), free(coded);
}

int main(void)
{
    uint32_t word[WORDS];

    while (fread(word, sizeof word, 1, stdin) == 1) {
        if (word[FEEDBACK] == 2u) {
            load_case(word);
        } else {
            update_case(word);
        }
    }
    return 0;
}
