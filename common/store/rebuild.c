/* Making the index again from the folder. Thread: a command, while no daemon runs. */
#include "common/store/store_private.h"

int store_rebuild(const char *dir,
                  int (*inspect)(const void *data, size_t len, char media_type[256], struct digest **children,
                                 size_t *n),
                  struct verify_report *out, struct error *err) {
    struct store_config cfg = {.dir = dir, .inspect = inspect};
    struct store *s;
    *out = (struct verify_report){0};
    int r = store_open_with(&s, &cfg, true, err);
    if (r < 0) return r;
    store_wait_reconciled(s);
    out->adopted = s->adopted;
    out->checked = s->blobs;
    out->bytes = s->bytes;
    store_close(s);
    return 0;
}
