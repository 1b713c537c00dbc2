/* Asks the owner of content without another source (struct store_guard). Without an owner only the index's flags count.
 * Thread: any, except open and close. */
#include "common/store/store_private.h"

int guard_open(struct store *s, struct error *err) {
    return s->cfg.guard ? s->cfg.guard->open(s->dir, &s->guard_state, err) : 0;
}

void guard_close(struct store *s) {
    if (s->guard_state) s->cfg.guard->close(s->guard_state);
    s->guard_state = NULL;
}

void *store_guard_state(const struct store *s) {
    return s->guard_state;
}

bool guard_keeps(const struct store *s, const struct digest *d, unsigned flags) {
    return (flags & BLOB_HOSTED) || (s->guard_state && s->cfg.guard->keeps(d, s->guard_state));
}

bool guard_keeps_tag(const struct store *s, const char *repo, const char *tag) {
    return s->guard_state && s->cfg.guard->keeps_tag(repo, tag, s->guard_state);
}

bool store_eviction_held(const struct store *s) {
    return s->guard_state && s->cfg.guard->keeps_all(s->guard_state);
}
