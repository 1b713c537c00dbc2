/* A store within a limit, or on a small disk, which each test opens itself. Thread: the test's. */
#ifndef ENTREPOT_TESTS_BOUNDED_STORE_H
#define ENTREPOT_TESTS_BOUNDED_STORE_H

#include "tests/unit/common/store/fixture.h"

#include <poll.h>
#include <sys/mount.h>

#include "common/core/log.h"
#include "common/store/part.h"
#include "common/store/report.h"
#include "common/store/tag.h"

static char dir[256];
static struct store *store;

static inline int setup(void **state) {
    (void)state;
    log_init(2, LOG_FORMAT_KV, LOG_LEVEL_ERROR, "test");
    fixture_dir(dir);
    return 0;
}

static inline int teardown(void **state) {
    (void)state;
    if (store) store_close(store);
    store = NULL;
    umount2(dir, MNT_DETACH);
    fixture_remove(dir);
    return 0;
}

static inline void touch(const struct digest *d) {
    struct open_file *f;
    struct blob_info bi;
    assert_int_equal(store_open_blob(store, d, USE_WHOLE, &f, &bi), 0);
    open_file_unref(f);
}

static inline int64_t held_bytes(void) {
    struct store_usage u;
    store_usage(store, &u);
    return u.bytes;
}

/* The evictor works beside us: looked at until it has done it. */
static inline void wait_until_below(int64_t bytes) {
    for (int i = 0; held_bytes() > bytes && i < 10000; i++)
        poll(NULL, 0, 1);
    assert_true(held_bytes() <= bytes);
}

static inline void mount_small(const char *size) {
    char opts[64];
    snprintf(opts, sizeof(opts), "size=%s", size);
    assert_int_equal(mount("none", dir, "tmpfs", 0, opts), 0);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

#endif
