/* Limits, and the eviction of real files. Some stores are on a tmpfs, for speed; that needs root, as the lab has. */
#include "tests/unit/common/store/bounded_store.h"

#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>

#define BLOCK 4096 /* of the file systems that tests are run on */

static int64_t tree_blocks;

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
    enum { BLOBS = 1000, SIZE = 5000, LIMIT = 7 << 20 };
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
    for (int i = 0; (left < 0 || left > 10 * BLOCK) && i < 10000; i++) { /* blobs have gone between two looks */
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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
