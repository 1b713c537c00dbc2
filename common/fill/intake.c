/* What comes from a source on its way into the file. Sources hand over small parts (libcurl 16 KiB at most): they are
 * gathered to blocks, and a block is written, shown to readers and given to the hasher as one. When the source has
 * nothing more for the moment, what there is goes on at once, so that nobody waits for a block to fill. Thread: fetch
 * loop. */
#include "common/fill/fill_private.h"

#include <string.h>

/* Enough for one fill at full speed. */
#define SPARE_MAX 4

struct block *block_new(struct fill *f) {
    struct fill_shard *sh = fill_shard(f);
    struct block *b = sh->spare;
    if (b) {
        sh->spare = b->next;
        sh->n_spare--;
    } else {
        b = malloc(sizeof(*b));
        if (!b) abort();
    }
    b->next = NULL;
    b->len = 0;
    sh->n_blocks++;
    return b;
}

void block_free(struct fill *f, struct block *b) {
    struct fill_shard *sh = fill_shard(f);
    sh->n_blocks--;
    if (sh->n_spare == SPARE_MAX || !sh->all) {
        free(b);
        return;
    }
    b->next = sh->spare;
    sh->spare = b;
    sh->n_spare++;
}

void blocks_free_spare(struct fill_shard *sh) {
    for (struct block *b; (b = sh->spare);) {
        sh->spare = b->next;
        free(b);
    }
    sh->n_spare = 0;
}

void intake_drop(struct fill *f) {
    if (f->filling) block_free(f, f->filling);
    f->filling = NULL;
    for (struct block *b; (b = f->waiting);) {
        f->waiting = b->next;
        block_free(f, b);
    }
    f->waits = &f->waiting;
    f->n_waiting = 0;
    f->taken = f->written;
}

/* What is gathered goes to the file and to readers. */
static bool write_out(struct fill *f) {
    int64_t n = f->taken - f->written;
    if (n == 0) return true;
    const struct block *b = f->filling;
    int r = fill_bytes_write(f, f->written, b->data + b->len - n, (size_t)n);
    if (r < 0) {
        struct fetch_end end;
        fetch_end_set(&end, r, "neither disk nor memory takes the bytes: %s", error_name(r));
        fill_fail(f, &end);
        return false;
    }
    f->written = f->taken;
    fill_publish(f);
    return true;
}

/* The block, full or not, is the hasher's next. */
static bool hand_on(struct fill *f) {
    struct block *b = f->filling;
    if (!b) return true;
    f->filling = NULL;
    *f->waits = b;
    f->waits = &b->next;
    f->n_waiting++;
    return check_waiting(f);
}

bool intake_add(struct fill *f, const void *data, size_t len) {
    const char *p = data;
    while (len) {
        if (!f->filling) f->filling = block_new(f);
        /* Blocks end where the file's would: whole pages are written, and none reaches over the end of a piece. */
        size_t room = (size_t)(FILL_BLOCK - f->taken % FILL_BLOCK), n = len < room ? len : room;
        memcpy(f->filling->data + f->filling->len, p, n);
        f->filling->len += n;
        f->taken += (int64_t)n;
        p += n;
        len -= n;
        if (n == room && (!write_out(f) || !hand_on(f))) return false;
    }
    return true;
}

bool intake_lull(struct fill *f) {
    if (!write_out(f)) return false;
    /* While the hasher is at an earlier stretch this block may as well grow. */
    return f->check.running || hand_on(f);
}

bool intake_close(struct fill *f) {
    return write_out(f) && hand_on(f);
}
