/* catalog.db stays within its limit, and what is needed stays in it. */
#include "central/catalog/catalog.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/support/folder.h"
#include "tests/unit/support/nth_digest.h"

#define LIMIT MiB
#define MANY 3000

static char dir[256], path[300];
static struct catalog *catalog;

static int open_in_folder(void **state) {
    (void)state;
    const char *tmp = getenv("TMPDIR");
    snprintf(dir, sizeof(dir), "%s/prune-XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(dir)) return -1;
    snprintf(path, sizeof(path), "%s/catalog.db", dir);
    if (catalog_open(&catalog, path, 1, NULL) < 0) return -1;
    catalog_bound(catalog, LIMIT);
    return 0;
}

static int close_and_remove(void **state) {
    (void)state;
    catalog_close(catalog);
    return folder_remove(dir);
}

static struct catalog_fact look(int n) {
    struct catalog_fact f = {.digest = nth_digest(n)};
    catalog_lookup(catalog, &f, 1, SIZE_MAX);
    return f;
}

static bool is_known(int n) {
    struct catalog_fact f = look(n);
    catalog_fact_fini(&f);
    return f.code == 0;
}

/* Manifest n with the layers n + 1 and n + 2. All of it is here. */
static void learn_image(int n) {
    struct digest d = nth_digest(n);
    struct manifest_child kids[2];
    uint8_t proofs[32] = {1};
    for (int i = 0; i < 2; i++) {
        kids[i] = (struct manifest_child){.digest = nth_digest(n + 1 + i), .size = 2 * PIECE_SIZE, .kind = CHILD_LAYER};
        catalog_learn_blob(catalog, &kids[i].digest, 2 * PIECE_SIZE, true, proofs, sizeof(proofs));
    }
    struct manifest m = {.children = kids, .n_children = 2};
    catalog_learn_blob(catalog, &d, 500, true, NULL, 0);
    catalog_learn_manifest(catalog, &d, MEDIA_OCI_MANIFEST, 500, &m);
}

static void lose(int n) {
    struct digest d = nth_digest(n);
    catalog_blob_lost(catalog, &d);
}

static void learn_tag(const char *upstream, const char *tag, int n) {
    struct repo_name repo = {{0}, "a/b"};
    snprintf(repo.upstream, sizeof(repo.upstream), "%s", upstream);
    struct tag_facts t = {.digest = nth_digest(n), .size = 5, .checked_at = n};
    snprintf(t.media_type, sizeof(t.media_type), "%s", MEDIA_OCI_MANIFEST);
    catalog_learn_tag(catalog, &repo, tag, &t);
}

static struct catalog_stats stats(void) {
    struct catalog_stats s;
    catalog_stats(catalog, &s);
    return s;
}

/* A pass goes on by one job a batch, and each flush waits for one batch. */
static void wait_until_it_fits(void) {
    for (int i = 0; i < 10000 && stats().bytes > LIMIT; i++)
        catalog_flush(catalog);
    assert_true(stats().bytes <= LIMIT);
}

/* A pass that found too little to remove, because what was lost had not been written yet, is repeated once the file has
 * grown some more: images come and go until then. */
static void go_on_until_it_fits(int n) {
    for (int end = n + 4 * MANY; n < end && stats().bytes > LIMIT; n += 4) {
        learn_image(n);
        for (int i = 0; i < 3; i++)
            lose(n + i);
        catalog_flush(catalog);
    }
    wait_until_it_fits();
}

static void what_was_evicted_is_forgotten_oldest_first_and_the_file_stays_small(void **state) {
    (void)state;
    int64_t most = 0;
    for (int n = 0; n < 4 * MANY; n += 4) {
        char tag[16];
        snprintf(tag, sizeof(tag), "t%d", n);
        learn_image(n);
        learn_tag("docker.io", tag, n);
        for (int i = 0; i < 3; i++)
            lose(n + i);
        if (n % 400) continue;
        catalog_flush(catalog);
        if (stats().bytes > most) most = stats().bytes;
    }
    catalog_flush(catalog);
    wait_until_it_fits();
    assert_true(most < 2 * LIMIT);
    assert_true(stats().pruned > MANY);
    assert_int_equal(stats().failed + stats().dropped, 0);
    for (int i = 0; i < 3; i++) {
        assert_false(is_known(i));
        assert_true(is_known(4 * (MANY - 1) + i));
    }
    catalog_close(catalog);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_true(st.st_size <= LIMIT);
    assert_int_equal(catalog_open(&catalog, path, 1, NULL), 0);
}

static void tell(const char *repo, const char *tag, const struct tag_facts *t, void *arg) {
    (void)t;
    bool *found = arg;
    if (strcmp(repo, "a/b") == 0 && strcmp(tag, "hosted") == 0) found[0] = true;
    if (strcmp(repo, "docker.io/a/b") == 0 && strcmp(tag, "held") == 0) found[1] = true;
    if (strcmp(repo, "docker.io/a/b") == 0 && strcmp(tag, "lost") == 0) found[2] = true;
}

static void what_is_held_named_by_it_or_hosted_stays(void **state) {
    (void)state;
    const int held = 1000000, hosted = 1000010, lost = 1000020;
    bool found[3] = {false};
    learn_image(held);
    lose(held + 1); /* a layer of an image that is still held */
    learn_image(hosted);
    lose(hosted); /* its bytes are missing */
    learn_image(lost);
    lose(lost);
    lose(lost + 1);
    learn_tag("docker.io", "held", held);
    learn_tag("", "hosted", hosted);
    learn_tag("docker.io", "lost", lost);
    for (int n = 0; n < 4 * MANY; n += 4) {
        learn_image(n);
        for (int i = 0; i < 3; i++)
            lose(n + i);
        if (n % 400 == 0) catalog_flush(catalog);
    }
    catalog_flush(catalog);
    go_on_until_it_fits(4 * MANY);
    struct catalog_fact f = look(held);
    assert_true(f.held && f.is_manifest && f.manifest.n_children == 2);
    catalog_fact_fini(&f);
    f = look(held + 1);
    assert_true(f.code == 0 && !f.held && !f.claimed && f.size == 2 * PIECE_SIZE);
    catalog_fact_fini(&f);
    f = look(hosted);
    assert_true(f.is_manifest && !f.held && f.manifest.n_children == 2);
    catalog_fact_fini(&f);
    assert_true(look(lost + 2).held);
    assert_false(is_known(lost));
    assert_int_equal(catalog_each_tag(catalog, tell, found), 0);
    assert_true(found[0] && found[1] && !found[2]);
}

static void what_is_held_may_take_more_than_the_limit(void **state) {
    (void)state;
    for (int n = 0; n < 4 * MANY; n += 4) {
        learn_image(n);
        if (n % 400 == 0) catalog_flush(catalog);
    }
    catalog_flush(catalog);
    assert_true(stats().bytes > LIMIT);
    for (int n = 0; n < 4 * MANY; n += 4)
        assert_true(look(n + 1).held);
    assert_int_equal(stats().pruned, 0);
}

/* Overwrites the head of each page of the file that holds this digest. */
static void damage_pages_with(int n) {
    enum { PAGE = 4096 };
    struct digest d = nth_digest(n);
    uint8_t page[PAGE];
    int fd = open(path, O_RDWR | O_CLOEXEC), damaged = 0;
    assert_true(fd >= 0);
    for (off_t at = PAGE; pread(fd, page, PAGE, at) == PAGE; at += PAGE) {
        if (!memmem(page, PAGE, d.bytes, digest_len(d.alg))) continue;
        memset(page, 0xff, 16);
        assert_int_equal(pwrite(fd, page, PAGE, at), PAGE);
        damaged++;
    }
    assert_true(damaged > 0);
    close(fd);
}

static void a_damaged_file_ends_the_pass_amid_a_batch(void **state) {
    (void)state;
    catalog_bound(catalog, 0);
    for (int n = 0; n < 4 * MANY; n += 4) {
        learn_image(n);
        for (int i = 0; i < 3; i++)
            lose(n + i);
        if (n % 400 == 0) catalog_flush(catalog);
    }
    catalog_close(catalog);
    damage_pages_with(4 * 40 + 1); /* the 121st that would be forgotten */
    assert_int_equal(catalog_open(&catalog, path, 1, NULL), 0);
    catalog_bound(catalog, LIMIT);
    learn_image(9000000);
    catalog_flush(catalog);
    catalog_flush(catalog);
    assert_int_equal(stats().pruned, 0);
    assert_false(is_known(9999999)); /* it is still asked, and answers */
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_in_folder, close_and_remove)
    const struct CMUnitTest tests[] = {
        TEST(what_was_evicted_is_forgotten_oldest_first_and_the_file_stays_small),
        TEST(what_is_held_named_by_it_or_hosted_stays),
        TEST(what_is_held_may_take_more_than_the_limit),
        TEST(a_damaged_file_ends_the_pass_amid_a_batch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
