/* Tiles are whole whatever they hold: tags beyond the memory of one answer are had by several. */
#include "central/catalog/replica_reads.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/support/folder.h"

#define TAGS 20000 /* of some 400 bytes */

/* What one tile takes, when there is hardly any memory. */
static bool is_too_big(unsigned tile, const struct place *of, const struct tile_records *records,
                       const struct record_blobs *blobs, void *arg) {
    unsigned *told = arg;
    (void)tile, (void)of, (void)blobs;
    assert_null(records);
    ++*told;
    return true;
}

static bool wants_any(unsigned tile, const struct place *of, void *arg) {
    (void)tile, (void)of, (void)arg;
    return true;
}

struct seen {
    struct record_secret secret;
    bool whole[TILES_OF_TAGS];
    size_t records;
};

static bool wants(unsigned tile, const struct place *of, void *arg) {
    const struct seen *s = arg;
    (void)of;
    return !s->whole[tile];
}

static bool take(unsigned tile, const struct place *of, const struct tile_records *records,
                 const struct record_blobs *blobs, void *arg) {
    struct seen *s = arg;
    struct set_digest got;
    (void)blobs;
    assert_non_null(records);
    tile_records_digest(records, &s->secret, &got);
    assert_true(set_digest_eq(&got, &of->digest));
    s->whole[tile] = true;
    s->records += records->n;
    return true;
}

static void tags_beyond_the_memory_of_one_answer_come_whole_by_several(void **state) {
    (void)state;
    char dir[] = "/tmp/tiles-XXXXXX", path[64];
    struct catalog *c;
    struct place p;
    struct repo_name repo = {"docker.io", ""};
    struct tag_facts t = {.size = 5, .checked_at = 1, .media_type = "a/b"};
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/catalog.db", dir);
    assert_int_equal(catalog_open(&c, path, 2, NULL), 0);
    catalog_bound(c, (int64_t)(2 * GiB));
    memset(repo.path, 'a', 190);
    digest_of(&t.digest, DIGEST_SHA256, "x", 1);
    for (int i = 0; i < TAGS; i++) {
        char tag[TAG_MAX + 1];
        snprintf(tag, sizeof(tag), "v%0110d", i);
        catalog_learn_tag(c, &repo, tag, &t);
        if (i % 1000 == 999) catalog_flush(c); /* what waits to be written is bounded */
    }
    catalog_flush(c);
    assert_int_equal(catalog_place(c, &p), 0);
    struct seen *s = calloc(1, sizeof(*s));
    record_secret_of(p.epoch, &s->secret);
    unsigned answers = 0, tiles[CATALOG_TILES_MAX];
    for (unsigned first = 0; first < TILES_OF_TAGS; first += CATALOG_TILES_MAX) {
        for (unsigned i = 0; i < CATALOG_TILES_MAX; i++)
            tiles[i] = first + i;
        const struct tile_reader reader = {.wants = wants, .tile = take, .arg = s, .tag_bytes = 200 * KiB};
        for (size_t before = SIZE_MAX; before != s->records; answers++) {
            before = s->records;
            assert_int_equal(catalog_read_tiles(c, tiles, CATALOG_TILES_MAX, &reader), 0);
        }
    }
    for (unsigned i = 0; i < TILES_OF_TAGS; i++)
        assert_true(s->whole[i]);
    assert_int_equal(s->records, TAGS);
    assert_true(answers > 2 * TILES_OF_TAGS / CATALOG_TILES_MAX);
    unsigned told = 0;
    const struct tile_reader little = {.wants = wants_any, .tile = is_too_big, .arg = &told, .tag_bytes = 2 * KiB};
    assert_int_equal(catalog_read_tiles(c, tiles, CATALOG_TILES_MAX, &little), 0);
    assert_int_equal(told, 1);
    free(s);
    catalog_close(c);
    folder_remove(dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(tags_beyond_the_memory_of_one_answer_come_whole_by_several)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
