/*
 * The entropy device, clause 5.4: fills what the driver offers with the host's random bytes.
 *
 * With max-bytes and period, at most so many bytes in so many milliseconds of guest time; what the
 * driver offers beyond that stays in its ring until the next period. A chain gets at most
 * RNG_PIECE bytes (the driver takes what it gets), so that the loop is not kept.
 */
#include "hw/virtio/rng.h"
#include "hw/virtio/virtio.h"

#include <errno.h>
#include <stdio.h>
#include <sys/random.h>

#define RNG_QUEUE_SIZE 8
#define RNG_PIECE      (UINT32_C(1) << 16)

struct virtio_rng {
    struct virtio_device virtio; /* first */
    /* properties */
    char *source;
    uint64_t max_bytes;
    uint32_t period; /* ms */
    /* state */
    uint64_t quota; /* left in this period */
    struct loop_timer timer;
    bool running;
};

/* How many bytes of the chain's pieces were filled. */
static uint32_t fill(const struct virtio_chain *chain, uint64_t most)
{
    uint32_t done = 0;

    most = most < RNG_PIECE ? most : RNG_PIECE;
    for (unsigned i = 0; i < chain->in_count && done < most; i++) {
        const struct iovec *iov = &chain->in[i];
        size_t size = iov->iov_len < most - done ? iov->iov_len : (size_t)(most - done);

        for (size_t at = 0; at < size;) {
            ssize_t n = getrandom((uint8_t *)iov->iov_base + at, size - at, 0);

            if (n < 0 && errno != EINTR) {
                return done;
            }
            at += n > 0 ? (size_t)n : 0;
            done += n > 0 ? (uint32_t)n : 0;
        }
    }
    return done;
}

static void begin_period(struct virtio_rng *rng)
{
    rng->quota = rng->max_bytes;
    loop_timer_arm(&rng->timer,
                   loop_clock_now(LOOP_CLOCK_VIRTUAL) + INT64_C(1000000) * rng->period);
}

static void handle(struct virtio_device *device, struct virtio_queue *queue)
{
    struct virtio_rng *rng = (struct virtio_rng *)device;
    struct virtio_chain *chain;

    while (rng->quota && (chain = virtio_pop(queue))) {
        if (!loop_timer_is_armed(&rng->timer)) {
            begin_period(rng);
        }
        uint32_t filled = fill(chain, rng->quota);

        rng->quota -= filled;
        virtio_push(chain, filled);
    }
    virtio_flush(queue);
}

/* A period has ended: the next one begins with the first byte that is wanted. */
static void period_ends(void *opaque)
{
    struct virtio_rng *rng = opaque;

    rng->quota = rng->max_bytes;
    if (rng->running) {
        handle(&rng->virtio, virtio_queue_at(&rng->virtio, 0));
    }
}

static void start(struct virtio_device *device)
{
    ((struct virtio_rng *)device)->running = true;
}

static void stop(struct virtio_device *device)
{
    ((struct virtio_rng *)device)->running = false;
}

static uint64_t features(struct virtio_device *device)
{
    return 0;
}

static const struct virtio_device_ops ops = {
    .device_id = 4, .pci_class = 0x00ff, .features = features, .start = start, .stop = stop};

static int rng_realize(struct hw_device *device, char *error, size_t error_size)
{
    struct virtio_rng *rng = (struct virtio_rng *)device;
    int err = virtio_init(&rng->virtio, &ops, 1, RNG_QUEUE_SIZE, handle, NULL, error, error_size);

    if (!err) {
        rng->quota = rng->max_bytes;
        loop_timer_init(&rng->timer, virtio_loop(&rng->virtio), LOOP_CLOCK_VIRTUAL, period_ends,
                        rng);
    }
    return err;
}

static void rng_unrealize(struct hw_device *device)
{
    struct virtio_rng *rng = (struct virtio_rng *)device;

    loop_timer_cancel(&rng->timer);
    virtio_exit(&rng->virtio);
}

/* Whatever was left of the period, a whole one begins. */
static int post_load(void *object, uint32_t version)
{
    struct virtio_rng *rng = object;

    rng->quota = rng->max_bytes;
    return 0;
}

static const struct state_field fields[] = {
    STATE(STRUCT, "virtio", struct virtio_rng, virtio, .table = &virtio_state),
    STATE_END,
};

static const struct state_table state = {
    .name = "virtio-rng", .version = 1, .min_version = 1, .fields = fields, .post_load = post_load};

static const struct property properties[] = {
    VIRTIO_PROPERTIES,
    PROPERTY(STRING, "rng", struct virtio_rng, source,
             .help = "id of a source; accepted, all are the host's random numbers"),
    PROPERTY(U64, "max-bytes", struct virtio_rng, max_bytes, .number = INT64_MAX, .min = 1,
             .help = "bytes in a period"),
    PROPERTY(U32, "period", struct virtio_rng, period, .number = 65536, .min = 1,
             .help = "length of a period in ms"),
    PROPERTY_END,
};

const struct hw_device_type virtio_rng_type = {
    .name = "virtio-rng-device",
    .bus = "virtio-bus",
    .help = "virtio entropy source",
    .size = sizeof(struct virtio_rng),
    .properties = properties,
    .state = &state,
    .realize = rng_realize,
    .unrealize = rng_unrealize,
};
