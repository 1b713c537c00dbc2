/* The part file of a new fill. It is made once a source has agreed to send: anybody may ask for what there is not. What
 * an earlier life has left in it is hashed again, by the same hasher as all that follows, and the fill goes on from
 * there. Thread: fetch loop. */
#include "common/fill/fill_private.h"
#include "common/store/part.h"

#include <string.h>

/* All that was left is hashed, or was taken back as wrong. */
static void resumed(struct fill *f) {
    f->reopened = false;
    atomic_fetch_add_explicit(&f->engine->resumed_bytes, f->written, memory_order_relaxed);
    log_info("fill_resumes", KV_I("have", f->written), KV_S("request_id", f->spec.request_id));
    fill_publish(f);
    fill_fetch(f);
}

void fill_reopen(struct fill *f) {
    int64_t size = atomic_load_explicit(&f->size, memory_order_relaxed);
    if (size >= 0 && f->written > size) fill_rewind(f, 0);
    check_then(f, resumed);
}

/* Bytes that are in it. */
static int64_t open_part(struct fill *f) {
    struct error err = {0};
    int64_t have = 0;
    f->part_due = false;
    if (part_open(f->engine->cfg.store, &f->spec.digest, &f->part, &have, &err) == 0) {
        f->disk = part_file(f->part);
        return have;
    }
    f->part = NULL;
    log_warn("fill_passes_through", KV_S("why", err.msg), KV_S("request_id", f->spec.request_id));
    return 0;
}

void fill_open(struct fill *f, bool apart) {
    f->part_due = !apart;
    if (f->part_due && part_exists(f->engine->cfg.store, &f->spec.digest)) {
        f->taken = f->written = f->tick_written = open_part(f);
        f->reopened = f->written > 0;
    }
    timer_set(&f->retry, 0); /* never call back before we return */
}

void fill_make_part(struct fill *f) {
    if (!f->part_due || open_part(f) == 0) return;
    /* It has come from somewhere meanwhile: not ours to go on from. */
    fill_bytes_truncate(f, 0);
}
