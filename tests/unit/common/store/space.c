/* Limits, eviction of real files, and a disk that is really full (a tmpfs of 4 MiB; needs root, as the lab has). */
#include "tests/unit/common/store/fixture.h"

#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "common/core/log.h"
#include "common/store/part.h"
#include "common/store/report.h"
#include "common/store/tag.h"

#define BLOCK 4096 /* of the file systems that tests are run on */

static char dir[256];
static struct store *store;
static int64_t tree_blocks;

static int setup(void **state) {
    (void)state;
    log_init(2, LOG_FORMAT_KV, LOG_LEVEL_ERROR, "test");
    fixture_dir(dir);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    if (store) store_close(store);
    store = NULL;
    umount2(dir, MNT_DETACH);
    fixture_remove(dir);
    return 0;
}

static void touch(const struct digest *d) {
    struct open_file *f;
    struct blob_info bi;
    assert_int_equal(store_open_blob(store, d, USE_WHOLE, &f, &bi), 0);
    open_file_unref(f);
}

static int64_t held_bytes(void) {
    struct store_usage u;
    store_usage(store, &u);
    return u.bytes;
}

/* The evictor works beside us: looked at until it has done it. */
static void wait_until_below(int64_t bytes) {
    for (int i = 0; held_bytes() > bytes && i < 10000; i++)
        poll(NULL, 0, 1);
    assert_true(held_bytes() <= bytes);
}

static void the_limit_holds_and_what_is_used_stays(void **state) {
    (void)state;
    store = fixture_open(dir, 16000000);
    struct digest hot[30], cold;
    for (unsigned i = 0; i < 30; i++) {
        hot[i] = fixture_put(store, i, 160000);
        touch(&hot[i]);
    }
    for (unsigned i = 0; i < 200; i++) {
        cold = fixture_put(store, 1000 + i, 160000);
        assert_true(held_bytes() <= 40160000);
    }
    wait_until_below(15680000);
    assert_true(fixture_held(store, &cold));
    for (unsigned i = 0; i < 30; i++)
        assert_true(fixture_held(store, &hot[i]));
    struct store_usage u;
    store_usage(store, &u);
    assert_true(u.evictions >= 130);
    assert_int_equal(u.limit, 16000000);
}

static void mount_small(const char *size) {
    char opts[64];
    snprintf(opts, sizeof(opts), "size=%s", size);
    assert_int_equal(mount("none", dir, "tmpfs", 0, opts), 0);
}

static int add_blocks(const char *path, const struct stat *st, int type, struct FTW *at) {
    (void)path, (void)type, (void)at;
    tree_blocks += st->st_blocks * 512LL;
    return 0;
}

static int64_t blocks_below(const char *name) {
    char path[300];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    tree_blocks = 0;
    nftw(path, add_blocks, 16, FTW_PHYS);
    return tree_blocks;
}

/* The difference of what a store says to what the disk gives. */
static int64_t untold(void) {
    struct store_usage u;
    store_usage(store, &u);
    static const char *const all[] = {"index.db", "index.db-wal", "index.db-shm", "blobs", "fills", "quarantine"};
    int64_t is = 0;
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        is += blocks_below(all[i]);
    return is - u.used_on_disk;
}

static void what_is_counted_is_what_the_disk_gives(void **state) {
    (void)state;
    enum { BLOBS = 3000, SIZE = 5000, LIMIT = 20 << 20 };
    struct store_usage u;
    struct error err = {0};
    struct verify_report rep;
    mount_small("64m"); /* in memory: so many are put at once */
    store = fixture_open(dir, 0);
    for (unsigned i = 0; i < BLOBS; i++)
        fixture_put(store, i, SIZE);
    struct digest d, bad = fixture_put(store, BLOBS, 5000);
    struct part *p;
    int64_t have;
    char *data = fixture_bytes(BLOBS + 1, 70000, &d), path[512], hex[DIGEST_STR_MAX];
    assert_int_equal(part_open(store, &d, &p, &have, &err), 0);
    assert_int_equal(part_write(p, 0, data, 70000), 0);
    part_close(p);
    free(data);
    snprintf(path, sizeof(path), "%s/blobs/sha256/%.2s/%s", dir, digest_hex(&bad, hex), hex);
    assert_int_equal(chmod(path, 0600), 0);
    assert_int_equal(truncate(path, 4999), 0);
    assert_int_equal(store_verify(store, NULL, NULL, &rep, &err), 0);
    assert_int_equal(rep.moved, 1);
    store_usage(store, &u);
    assert_int_equal(u.bytes, BLOBS * SIZE);
    assert_int_equal(u.on_disk, BLOBS * 2 * BLOCK);
    assert_int_equal(u.parts_on_disk, 18 * BLOCK);
    assert_int_equal(u.quarantine_on_disk, 2 * BLOCK);
    assert_in_range(untold(), 0, 10 * BLOCK); /* the few folders that are always there */
    store_close(store);
    /* The same after a start, and within a limit that the bytes of content are far below. */
    store = fixture_open(dir, 0);
    assert_in_range(untold(), 0, 10 * BLOCK);
    store_close(store);
    store = fixture_open(dir, LIMIT);
    do {
        poll(NULL, 0, 1);
        store_usage(store, &u);
    } while (u.used_on_disk > LIMIT);
    assert_in_range(u.evictions, 1, BLOBS - 1);
    int64_t left = untold();
    for (int i = 0; left < 0 && i < 10000; i++) { /* blobs have gone between two looks */
        poll(NULL, 0, 1);
        left = untold();
    }
    assert_in_range(left, 0, 10 * BLOCK);
    prune_to(store, 100 * BLOCK);
    store_usage(store, &u);
    assert_in_range(u.on_disk + u.parts_on_disk, 90 * BLOCK, 100 * BLOCK);
}

static void many_parts_are_one_use_and_a_crowd_is_many(void **state) {
    (void)state;
    enum { SIZE = 600000, ROOM = 20 };
    store = fixture_open(dir, ROOM * SIZE);
    struct digest in_parts = fixture_put(store, 1, SIZE), again = fixture_put(store, 2, SIZE), crowd;
    struct open_file *f;
    struct blob_info bi;
    struct error err;
    for (unsigned i = 0; i < 10; i++) {
        assert_int_equal(store_open_blob(store, &in_parts, USE_PART, &f, &bi), 0);
        open_file_unref(f);
    }
    touch(&again);
    char *data = fixture_bytes(3, SIZE, &crowd);
    struct commit_info info = {.size = SIZE, .uses = 49};
    assert_int_equal(put_bytes(store, &crowd, data, SIZE, &info, &err), 0);
    free(data);
    /* A node that starts again knows it, too. */
    store_close(store);
    store = fixture_open(dir, ROOM * SIZE);
    for (unsigned i = 0; i < 3 * ROOM; i++)
        fixture_put(store, 100 + i, SIZE);
    assert_false(fixture_held(store, &in_parts));
    assert_true(fixture_held(store, &again));
    assert_true(fixture_held(store, &crowd));
}

static void hosted_and_open_blobs_are_never_evicted(void **state) {
    (void)state;
    store = fixture_open(dir, 0);
    struct digest hosted, open = fixture_put(store, 3, 1000), plain = fixture_put(store, 4, 1000);
    assert_int_equal(fixture_put_flags(store, 2, 1000, BLOB_HOSTED, &hosted), 0);
    struct open_file *f;
    struct blob_info bi;
    assert_int_equal(store_open_blob(store, &open, USE_WHOLE, &f, &bi), 0);
    assert_int_equal(prune_to(store, 0), 1000);
    assert_true(fixture_held(store, &hosted) && fixture_held(store, &open));
    assert_false(fixture_held(store, &plain));
    open_file_unref(f);
    assert_int_equal(prune_to(store, 0), 1000);
    assert_false(fixture_held(store, &open));
    store_close(store);
    store = fixture_open(dir, 0);
    assert_int_equal(prune_to(store, 0), 0);
    assert_true(fixture_held(store, &hosted));
    store_set_hosted(store, &hosted, false);
    assert_int_equal(prune_to(store, 0), 1000);
    assert_false(fixture_held(store, &hosted));
}

static void a_prune_right_after_a_start_waits_for_the_queues(void **state) {
    (void)state;
    enum { BLOBS = 300, SIZE = 100 };
    store = fixture_open(dir, 0);
    for (unsigned i = 0; i < BLOBS; i++)
        fixture_put(store, i, SIZE);
    store_close(store);
    struct error err = {0};
    struct store_config cfg = {.dir = dir};
    assert_int_equal(store_open(&store, &cfg, &err), 0);
    assert_int_equal(prune_to(store, 0), BLOBS * SIZE);
}

static void a_blob_read_through_its_fills_file_is_not_evicted(void **state) {
    (void)state;
    store = fixture_open(dir, 0);
    struct digest d;
    struct part *p;
    struct error err;
    int64_t have;
    char *data = fixture_bytes(1, 1000, &d);
    assert_int_equal(part_open(store, &d, &p, &have, &err), 0);
    assert_int_equal(part_write(p, 0, data, 1000), 0);
    struct open_file *reader = part_file(p);
    struct fixture_wait w = FIXTURE_WAIT;
    struct commit_info info = {.size = 1000};
    part_commit(p, &info, fixture_done, &w);
    assert_int_equal(fixture_wait(&w), 0);
    assert_int_equal(prune_to(store, 0), 0);
    open_file_unref(reader);
    /* The commit's own reference goes right after done. */
    for (int i = 0; prune_to(store, 0) == 0 && i < 1000; i++)
        poll(NULL, 0, 1);
    assert_false(fixture_held(store, &d));
    free(data);
}

static void a_manifest_goes_after_its_children(void **state) {
    (void)state;
    store = fixture_open(dir, 0);
    struct digest child = fixture_put(store, 1, 1000), m;
    struct error err;
    struct commit_info info = {
        .size = 2, .flags = BLOB_MANIFEST, .media_type = "application/x", .children = &child, .n_children = 1};
    digest_of(&m, DIGEST_SHA256, "{}", 2);
    assert_int_equal(put_bytes(store, &m, "{}", 2, &info, &err), 0);
    store_set_hosted(store, &child, true);
    assert_int_equal(prune_to(store, 0), 0);
    assert_true(fixture_held(store, &m));
    store_set_hosted(store, &child, false);
    assert_int_equal(prune_to(store, 0), 1002);
    assert_false(fixture_held(store, &m));
}

/* Each manifest is too large to be spared, each child so small that it is. */
static void prune_large_manifests(unsigned manifests, unsigned children, bool children_last, unsigned uses) {
    enum { LARGE = 700 * 1024, CHILD = 500 };
    struct digest child[8], m[8];
    store = fixture_open(dir, 0);
    for (unsigned i = 0; i < children; i++)
        free(fixture_bytes(i, CHILD, &child[i]));
    for (unsigned i = 0; i < children && !children_last; i++)
        fixture_put(store, i, CHILD);
    for (unsigned i = 0; i < manifests; i++) {
        char *data = fixture_bytes(100 + i, LARGE, &m[i]);
        struct commit_info info = {.size = LARGE,
                                   .flags = BLOB_MANIFEST,
                                   .media_type = "application/x",
                                   .children = &child[children - 1 - i % children],
                                   .n_children = 1};
        struct error err;
        assert_int_equal(put_bytes(store, &m[i], data, LARGE, &info, &err), 0);
        free(data);
    }
    for (unsigned i = 0; i < children && children_last; i++)
        fixture_put(store, i, CHILD);
    for (unsigned i = 0; i < uses * children; i++)
        touch(&child[i % children]);
    store_close(store); /* what is used is in the main queue now */
    store = fixture_open(dir, 0);
    assert_int_equal(prune_to(store, 0), (int64_t)manifests * LARGE + (int64_t)children * CHILD);
    assert_int_equal(held_bytes(), 0);
    store_close(store);
    store = NULL;
}

static void large_manifests_go_after_a_tiny_child(void **state) {
    (void)state;
    for (int last = 0; last < 2; last++) {
        for (unsigned uses = 0; uses <= 3; uses++) {
            prune_large_manifests(1, 1, last, uses);
            prune_large_manifests(8, 1, last, uses); /* all of one */
            prune_large_manifests(8, 2, last, uses);
            prune_large_manifests(8, 8, last, uses); /* the oldest child is the youngest manifest's */
        }
    }
}

static void the_limit_holds_with_large_manifests_of_one_tiny_child(void **state) {
    (void)state;
    enum { LARGE = 4 << 20, LIMIT = 10 * LARGE + (512 << 10) }; /* what is over is the index's */
    mount_small("128m");                                        /* in memory: it is much */
    store = fixture_open(dir, LIMIT);
    struct digest child = fixture_put(store, 1, 500);
    for (unsigned i = 0; i < 40; i++) {
        struct digest m;
        char *data = fixture_bytes(100 + i, LARGE, &m);
        struct commit_info info = {
            .size = LARGE, .flags = BLOB_MANIFEST, .media_type = "application/x", .children = &child, .n_children = 1};
        struct error err;
        assert_int_equal(put_bytes(store, &m, data, LARGE, &info, &err), 0);
        free(data);
        wait_until_below(LIMIT -
                         LARGE / 2); /* else a fill in a hurry, which asks for no manifest, finds nothing to evict */
    }
}

static void old_part_files_go_before_blobs_and_new_ones_after(void **state) {
    (void)state;
    struct digest d[2], blob;
    struct part *p;
    struct error err;
    int64_t have;
    char path[600], hex[DIGEST_STR_MAX];
    store = fixture_open(dir, 0);
    for (unsigned i = 0; i < 2; i++) {
        char *data = fixture_bytes(i, 1000, &d[i]);
        assert_int_equal(part_open(store, &d[i], &p, &have, &err), 0);
        assert_int_equal(part_write(p, 0, data, 1000), 0);
        part_close(p);
        free(data);
    }
    store_close(store);
    snprintf(path, sizeof(path), "%s/fills/sha256-%s.part", dir, digest_hex(&d[0], hex));
    struct timespec old[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
    assert_int_equal(utimensat(AT_FDCWD, path, old, 0), 0);
    store = fixture_open(dir, 0);
    blob = fixture_put(store, 7, 1000);
    assert_int_equal(prune_to(store, 2 * BLOCK), 1000);
    assert_true(fixture_held(store, &blob));
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(prune_to(store, BLOCK), 1000);
    assert_false(fixture_held(store, &blob));
    struct store_usage u;
    store_usage(store, &u);
    assert_int_equal(u.part_bytes, 1000);
    assert_int_equal(prune_to(store, 0), 1000);
}

/* Whoever begins many downloads and leaves takes a tenth of the store at most from what others use. */
static void abandoned_part_files_go_before_blobs_in_use(void **state) {
    (void)state;
    enum { SIZE = 1000000, BLOBS = 8, PARTS = 12, LIMIT = 10000000 };
    struct digest hot[BLOBS], d;
    store = fixture_open(dir, LIMIT);
    for (unsigned i = 0; i < BLOBS; i++) {
        hot[i] = fixture_put(store, i, SIZE);
        touch(&hot[i]);
        touch(&hot[i]);
    }
    for (unsigned i = 0; i < PARTS; i++) {
        struct part *p;
        struct error err = {0};
        int64_t have;
        char *data = fixture_bytes(100 + i, SIZE / 2, &d);
        assert_int_equal(part_open(store, &d, &p, &have, &err), 0);
        if (part_write(p, 0, data, SIZE / 2) == 0)
            part_close(p);
        else
            part_discard(p);
        free(data);
    }
    wait_until_below(LIMIT);
    prune_to(store, BLOBS * SIZE + LIMIT / 10);
    for (unsigned i = 0; i < BLOBS; i++)
        assert_true(fixture_held(store, &hot[i]));
}

static void manifests_of_a_common_blob_take_no_more_than_their_share(void **state) {
    (void)state;
    enum { LARGE = 600 * 1024, N = 30, LIMIT = 30 * LARGE };
    store = fixture_open(dir, LIMIT);
    struct digest child = fixture_put(store, 1, 500), blob;
    for (unsigned i = 0; i < N; i++) {
        struct digest m;
        char *data = fixture_bytes(100 + i, LARGE, &m);
        struct commit_info info = {
            .size = LARGE, .flags = BLOB_MANIFEST, .media_type = "application/x", .children = &child, .n_children = 1};
        struct error err = {0};
        assert_int_equal(put_bytes(store, &m, data, LARGE, &info, &err), 0);
        free(data);
        for (int use = 0; use < 3; use++)
            touch(&child);
    }
    store_set_hosted(store, &child, true); /* it stays whatever happens */
    blob = fixture_put(store, 2, LARGE);
    for (int use = 0; use < 3; use++)
        touch(&blob);
    prune_to(store, LIMIT / 4);
    assert_true(held_bytes() <= LIMIT / 4);
    assert_true(fixture_held(store, &blob));
}

static void a_fill_beyond_the_limit_is_refused_not_stalled(void **state) {
    (void)state;
    store = fixture_open(dir, 10000000);
    struct digest hosted, d;
    assert_int_equal(fixture_put_flags(store, 1, 9000000, BLOB_HOSTED, &hosted), 0);
    struct part *p;
    struct error err;
    int64_t have, written = 0;
    char *data = fixture_bytes(2, 4000000, &d);
    assert_int_equal(part_open(store, &d, &p, &have, &err), 0);
    int r = 0;
    while (r == 0 && written < 4000000) {
        r = part_write(p, written, data + written, 10000);
        if (r == 0) written += 10000;
    }
    assert_int_equal(r, ERR_NO_SPACE);
    assert_in_range(written, 700000, 1100000);
    part_discard(p);
    free(data);
}

/* size 0: nobody has told it. Bytes that were taken of it. */
static int64_t write_large(int64_t size, int64_t told) {
    struct part *p;
    struct digest d;
    struct error err;
    int64_t have, written = 0;
    char *data = fixture_bytes(77, (size_t)size, &d);
    assert_int_equal(part_open(store, &d, &p, &have, &err), 0);
    if (told) part_expect(p, 0, told);
    while (written < size && part_write(p, written, data + written, 10000) == 0)
        written += 10000;
    part_discard(p);
    free(data);
    return written;
}

static void what_cannot_fit_evicts_nothing(void **state) {
    (void)state;
    struct digest held[9], hosted;
    store = fixture_open(dir, 10000000);
    assert_int_equal(fixture_put_flags(store, 100, 1000000, BLOB_HOSTED, &hosted), 0);
    for (unsigned i = 0; i < 8; i++)
        held[i] = fixture_put(store, i, 1000000);
    assert_int_equal(write_large(15000000, 15000000), 0);
    assert_int_equal(write_large(9000000, 9000000), 0); /* beside what is hosted */
    for (unsigned i = 0; i < 8; i++)
        assert_true(fixture_held(store, &held[i]));
    /* Of what is endless for all that is known, half of the room is tried. */
    assert_in_range(write_large(15000000, 0), 3000000, 5000000);
    unsigned left = 0;
    for (unsigned i = 0; i < 8; i++)
        left += fixture_held(store, &held[i]);
    assert_in_range(left, 3, 7);
    assert_int_equal(write_large(7000000, 7000000), 7000000); /* that fits, and the others go */
}

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

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(the_limit_holds_and_what_is_used_stays),
        T(what_is_counted_is_what_the_disk_gives),
        T(many_parts_are_one_use_and_a_crowd_is_many),
        T(hosted_and_open_blobs_are_never_evicted),
        T(a_prune_right_after_a_start_waits_for_the_queues),
        T(a_blob_read_through_its_fills_file_is_not_evicted),
        T(a_manifest_goes_after_its_children),
        T(large_manifests_go_after_a_tiny_child),
        T(the_limit_holds_with_large_manifests_of_one_tiny_child),
        T(old_part_files_go_before_blobs_and_new_ones_after),
        T(abandoned_part_files_go_before_blobs_in_use),
        T(manifests_of_a_common_blob_take_no_more_than_their_share),
        T(a_fill_beyond_the_limit_is_refused_not_stalled),
        T(what_cannot_fit_evicts_nothing),
        T(a_full_disk_evicts_and_goes_on),
        T(a_disk_without_inodes_evicts_and_goes_on),
        T(a_disk_full_of_hosted_blobs_says_no_space_and_stays_whole),
        T(a_disk_full_of_what_stays_is_served_from),
        T(a_full_disk_without_an_index_is_an_error_at_start_with_a_hint),
        T(a_disk_full_at_start_is_made_room_on),
        T(a_disk_full_at_start_is_made_room_on_for_the_index),
        T(what_a_full_disk_kept_from_the_index_is_written_later),
        T(a_file_size_limit_counts_as_a_full_disk),
        T(min_free_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
