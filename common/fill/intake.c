/* The bytes from a source on their way into the file. Sources hand over small parts (libcurl 16 KiB at most). They are
 * gathered, then written, shown to readers and given to the hasher as one. When a source has nothing more for the
 * moment, the gathered bytes are flushed at once. Thread: fetch loop.
 *
 * All fills of a loop share one buffer: a fill that needs it flushes the bytes of another. */
#include "common/fill/fill_private.h"

#include "common/core/alloc.h"

#include <string.h>

int64_t intake_taken(const struct fill *f) {
    return f->intake.taken;
}

int64_t intake_written(const struct fill *f) {
    return f->intake.written;
}

void intake_goes_on_from(struct fill *f, int64_t written) {
    f->intake.taken = f->intake.written = written;
}

void intake_drop(struct fill *f) {
    struct fill_shard *sh = fill_shard(f);
    if (sh->gathered == f) sh->gathered = NULL;
    f->intake.taken = f->intake.written;
}

void intake_take_back(struct fill *f, int64_t to) {
    f->intake.written = to;
    intake_drop(f);
    fill_bytes_truncate(f, to);
}

enum fill_step intake_direct(struct fill *f, const void *data, size_t len) {
    int r = fill_bytes_write(f, f->intake.written, data, len);
    if (r == ERR_BUSY) {
        return fill_window_wait(f);
    }
    if (r < 0) {
        struct fetch_end end;
        fetch_end_set(&end, r, "neither disk nor memory takes the bytes: %s", error_name(r));
        return fill_fail(f, &end);
    }
    f->intake.written += (int64_t)len;
    f->intake.taken = f->intake.written;
    fill_publish(f);
    return check_written(f);
}

enum fill_step intake_flush(struct fill *f) {
    struct fill_shard *sh = fill_shard(f);
    if (sh->gathered != f) return STEP_STAY;
    sh->gathered = NULL;
    return intake_direct(f, sh->gather, (size_t)(f->intake.taken - f->intake.written));
}

static void make_room(struct fill *f) {
    struct fill_shard *sh = fill_shard(f);
    struct fill *other = sh->gathered; /* flushing it empties the place */
    /* Its source still sends: whatever comes of this, it tells us. */
    if (other && other != f) fill_go(other, intake_flush(other));
    if (!sh->gather) sh->gather = xmalloc(FILL_GATHER);
    sh->gathered = f;
}

enum fill_step intake_add(struct fill *f, const void *data, size_t len) {
    const char *p = data;
    while (len) {
        if (fill_shard(f)->gathered != f) make_room(f);
        int64_t have = f->intake.taken - f->intake.written;
        /* It ends where a block of that size would in the file: whole pages are written, and none of it is beyond the
         * end of a piece. */
        size_t room = (size_t)(FILL_GATHER - f->intake.taken % FILL_GATHER), n = len < room ? len : room;
        memcpy(fill_shard(f)->gather + have, p, n);
        f->intake.taken += (int64_t)n;
        p += n;
        len -= n;
        enum fill_step next = n == room ? intake_flush(f) : STEP_STAY;
        if (next != STEP_STAY) return next;
    }
    return STEP_STAY;
}
