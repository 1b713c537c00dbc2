/* A disk that is really full: a small tmpfs, which needs root, as the lab has. */
#include "tests/unit/common/store/bounded_store.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>

static void a_full_disk_evicts_and_goes_on(void **state) {
    (void)state;
    mount_small("8m");
    store = fixture_open(dir, 0);
    struct digest d, last;
    int failed = 0;
    for (unsigned i = 0; i < 40; i++)
        failed += fixture_put_flags(store, i, 500000, 0, &last) != 0;
    assert_int_equal(failed, 0);
    assert_true(fixture_held(store, &last));
    /* A fill through a part file, larger than what is free. */
    struct part *p;
    struct error err;
    int64_t have;
    char *data = fixture_bytes(99, 3000000, &d);
    assert_int_equal(part_open(store, &d, &p, &have, &err), 0);
    for (int64_t at = 0; at < 3000000; at += 100000)
        assert_int_equal(part_write(p, at, data + at, 100000), 0);
    struct fixture_wait w = FIXTURE_WAIT;
    struct commit_info info = {.size = 3000000};
    part_commit(p, &info, fixture_done, &w);
    assert_int_equal(fixture_wait(&w), 0);
    assert_true(fixture_held(store, &d));
    free(data);
}

/* So many files and folders, as of a file system that was made with few inodes. */
static void mount_few_inodes(unsigned inodes) {
    char opts[64];
    snprintf(opts, sizeof(opts), "size=64m,nr_inodes=%u", inodes);
    assert_int_equal(mount("none", dir, "tmpfs", 0, opts), 0);
}

static void a_disk_without_inodes_evicts_and_goes_on(void **state) {
    (void)state;
    enum { INODES = 200, BLOBS = 600 };
    mount_few_inodes(INODES);
    store = fixture_open(dir, 0);
    struct digest hot = fixture_put(store, BLOBS, 1000), last;
    touch(&hot);
    for (unsigned i = 0; i < BLOBS; i++) {
        int r = fixture_put_flags(store, i, 1000, 0, &last);
        if (r != 0) fail_msg("blob %u: %d", i, r);
        touch(&hot);
    }
    assert_true(fixture_held(store, &last) && fixture_held(store, &hot));
    struct store_usage u;
    store_usage(store, &u);
    assert_in_range(u.blobs, 20, INODES);
    /* Others take the rest, folders stand empty, and so does the store's own start. */
    store_close(store);
    unsigned others = 0;
    for (int fd = 0; fd >= 0; others++) {
        char path[300];
        snprintf(path, sizeof(path), "%s/other-%u", dir, others);
        fd = open(path, O_CREAT | O_WRONLY, 0600);
        if (fd >= 0) close(fd);
    }
    assert_true(others > 1);
    store = fixture_open(dir, 0);
    struct part *p;
    struct digest d;
    struct error err = {0};
    int64_t have;
    char *data = fixture_bytes(9999, 50000, &d);
    assert_int_equal(part_open(store, &d, &p, &have, &err), 0);
    assert_int_equal(part_write(p, 0, data, 50000), 0);
    struct fixture_wait w = FIXTURE_WAIT;
    struct commit_info info = {.size = 50000};
    part_commit(p, &info, fixture_done, &w);
    assert_int_equal(fixture_wait(&w), 0);
    assert_true(fixture_held(store, &d));
    free(data);
    for (int i = 0; store_trouble(store, &err) && i < 10000; i++)
        poll(NULL, 0, 1); /* the evictor makes some more room */
    if (store_trouble(store, &err)) fail_msg("%s", err.msg);
}

static void a_disk_full_of_hosted_blobs_says_no_space_and_stays_whole(void **state) {
    (void)state;
    mount_small("8m");
    store = fixture_open(dir, 0);
    struct digest d[40];
    unsigned n = 0;
    int r = 0;
    while (n < 40 && (r = fixture_put_flags(store, n, 500000, BLOB_HOSTED, &d[n])) == 0)
        n++;
    assert_int_equal(r, ERR_NO_SPACE);
    assert_in_range(n, 8, 16);
    store_close(store);
    store = fixture_open(dir, 0);
    struct verify_report rep;
    struct error err;
    assert_int_equal(store_verify(store, NULL, NULL, &rep, &err), 0);
    assert_int_equal(rep.checked, n);
    assert_int_equal(rep.bad, 0);
    for (unsigned i = 0; i < n; i++)
        assert_true(fixture_held(store, &d[i]));
    assert_false(fixture_held(store, &d[n]));
}

/* The path of what fills the disk of ours to its last block. */
static const char *fill_disk(void) {
    static char path[300];
    snprintf(path, sizeof(path), "%s/filler", dir);
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    char block[4096] = {0};
    while (write(fd, block, sizeof(block)) == (ssize_t)sizeof(block))
        continue;
    assert_int_equal(close(fd), 0);
    return path;
}

static void start_on_a_full_disk(bool log_lost) {
    mount_small("24m");
    store = fixture_open(dir, 0);
    struct digest plain[24], used, hosted[2], fresh;
    used = fixture_put(store, 100, 500000);
    touch(&used);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(fixture_put_flags(store, 101 + i, 500000, BLOB_HOSTED, &hosted[i]), 0);
    for (unsigned i = 0; i < 24; i++)
        plain[i] = fixture_put(store, i, 500000);
    store_close(store);
    for (int i = 0; i < 2 && log_lost; i++) {
        char path[300];
        snprintf(path, sizeof(path), "%s/index.db-%s", dir, i ? "wal" : "shm");
        assert_int_equal(unlink(path), 0);
    }
    fill_disk();
    store = fixture_open(dir, 0);
    wait_until_below(26 * 500000); /* one of the 27 has gone */
    fresh = fixture_put(store, 200, 500000);
    unsigned gone = 0;
    for (unsigned i = 0; i < 24; i++)
        gone += !fixture_held(store, &plain[i]);
    assert_in_range(gone, 1, 20);
    assert_true(fixture_held(store, &used) && fixture_held(store, &hosted[0]) && fixture_held(store, &hosted[1]));
    store_close(store);
    /* The index knows what has happened. */
    store = fixture_open(dir, 0);
    struct verify_report rep;
    struct error err;
    assert_int_equal(store_verify(store, NULL, NULL, &rep, &err), 0);
    assert_int_equal(rep.bad + rep.missing + rep.adopted, 0);
    assert_true(fixture_held(store, &fresh));
}

static void a_disk_full_at_start_is_made_room_on(void **state) {
    (void)state;
    start_on_a_full_disk(false);
}

/* As after a power cut. */
static void a_disk_full_at_start_is_made_room_on_for_the_index(void **state) {
    (void)state;
    start_on_a_full_disk(true);
}

static void what_a_full_disk_kept_from_the_index_is_written_later(void **state) {
    (void)state;
    mount_small("4m");
    store = fixture_open(dir, 0);
    struct digest d;
    assert_int_equal(fixture_put_flags(store, 1, 1000, BLOB_HOSTED, &d), 0);
    const char *filler = fill_disk();
    struct tag_facts rec = {.digest = d, .size = 1000, .media_type = "application/x"}, got;
    uint32_t scope;
    store_tag_set(store, "library/app", "v1", &rec);
    assert_int_equal(store_scope(store, "late.test", &scope), 0);
    store_add_scope(store, &d, scope);
    /* Whether it comes along with them or after they have been put off. */
    assert_int_equal(store_sync(store), ERR_NO_SPACE);
    assert_int_equal(store_sync(store), ERR_NO_SPACE);
    assert_int_equal(unlink(filler), 0);
    store_close(store);
    store = fixture_open(dir, 0);
    assert_true(store_tag_get(store, "library/app", "v1", &got));
    assert_true(digest_eq(&got.digest, &d));
    struct blob_info info;
    assert_int_equal(store_scope(store, "late.test", &scope), 0);
    assert_true(store_lookup_in(store, &d, scope, &info));
}

static void a_disk_full_of_what_stays_is_served_from(void **state) {
    (void)state;
    mount_small("4m");
    store = fixture_open(dir, 0);
    struct digest d, lost;
    assert_int_equal(fixture_put_flags(store, 1, 1000, BLOB_HOSTED, &d), 0);
    for (int starts = 0; starts < 3; starts++) {
        store_close(store);
        if (starts == 0) fill_disk();
        store = fixture_open(dir, 0);
        touch(&d);
        assert_int_equal(fixture_put_flags(store, 2, 100000, 0, &lost), ERR_NO_SPACE);
    }
}

static void a_full_disk_without_an_index_is_an_error_at_start_with_a_hint(void **state) {
    (void)state;
    mount_small("4m");
    const char *filler = fill_disk();
    struct error err = {0};
    struct store_config cfg = {.dir = dir};
    struct store *s = NULL;
    assert_int_equal(store_open(&s, &cfg, &err), ERR_NO_SPACE);
    assert_true(err.hint[0]);
    assert_int_equal(unlink(filler), 0);
    store = fixture_open(dir, 0);
}

static void a_file_size_limit_counts_as_a_full_disk(void **state) {
    (void)state;
    store = fixture_open(dir, 0);
    struct digest d;
    struct rlimit was, lim;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
    lim = was;
    lim.rlim_cur = 1 << 20;
    struct commit_info info = {.size = 2 << 20};
    char *data = fixture_bytes(1, 2 << 20, &d);
    int fd = file_of_bytes(data, 2 << 20, NULL);
    assert_true(fd >= 0);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &lim), 0);
    int r = store_put_file(store, &d, fd, &info, NULL);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
    close(fd);
    free(data);
    assert_int_equal(r, ERR_NO_SPACE);
    assert_int_equal(fixture_put_flags(store, 1, 2 << 20, 0, &d), 0);
}

static void min_free_is_kept(void **state) {
    (void)state;
    mount_small("16m");
    struct error err;
    struct store_config cfg = {.dir = dir, .min_free = 8 << 20};
    assert_int_equal(store_open(&store, &cfg, &err), 0);
    store_wait_reconciled(store);
    struct digest d;
    for (unsigned i = 0; i < 40; i++)
        assert_int_equal(fixture_put_flags(store, i, 400000, 0, &d), 0);
    wait_until_below(8 << 20);
    struct store_usage u;
    store_usage(store, &u);
    assert_true(u.disk_free > 7 << 20);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        T(a_full_disk_evicts_and_goes_on),
        T(a_disk_without_inodes_evicts_and_goes_on),
        T(a_disk_full_of_hosted_blobs_says_no_space_and_stays_whole),
        T(a_disk_full_at_start_is_made_room_on),
        T(a_disk_full_at_start_is_made_room_on_for_the_index),
        T(what_a_full_disk_kept_from_the_index_is_written_later),
        T(a_disk_full_of_what_stays_is_served_from),
        T(a_full_disk_without_an_index_is_an_error_at_start_with_a_hint),
        T(a_file_size_limit_counts_as_a_full_disk),
        T(min_free_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
