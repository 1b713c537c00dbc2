/* The part file of a new fill. It is made once a source has agreed to send, because anybody may ask for blobs that do
 * not exist. What an earlier fill left in it is hashed again by the same hasher, and the fill continues from there.
 * Thread: fetch loop. */
#include "common/fill/fill_private.h"

/* All that was left is hashed, or was taken back as wrong. */
enum fill_step fill_resume(struct fill *f) {
    check_reopens(f, false);
    atomic_fetch_add_explicit(&f->engine->resumed_bytes, intake_written(f), memory_order_relaxed);
    log_info("fill_resumes", KV_I("have", intake_written(f)), KV_S("request_id", f->spec.request_id));
    fill_publish(f);
    return STEP_FETCHING;
}

enum fill_step fill_reopen(struct fill *f) {
    int64_t size = shared_size(&f->shared);
    if (size >= 0 && intake_written(f) > size) fill_rewind(f, 0);
    return check_then(f, STEP_RESUMING);
}

void fill_open(struct fill *f) {
    int64_t left = fill_bytes_open_left(f);
    if (left > 0) {
        intake_goes_on_from(f, left);
        plan_goes_on_from(f, left);
        check_reopens(f, true);
    }
    fill_retry_in(f, 0); /* never call back before we return */
}
