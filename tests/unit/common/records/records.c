/* Records, their digests, tiles as they are sent, and places as text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "common/records/messages.h"
#include "common/records/tile_body.h"
#include "tests/unit/support/nth_digest.h"

static const struct record_secret secret = {{1, 2, 3, 4}};

static const uint8_t *bytes(const struct buf *b) {
    return (const uint8_t *)b->data;
}

static void a_manifest_comes_back_with_all_its_children(void **state) {
    (void)state;
    struct manifest_child children[] = {
        {.digest = nth_digest(1), .size = 70, .kind = CHILD_CONFIG},
        {.digest = nth_digest(2), .size = -1, .kind = CHILD_LAYER, .foreign = true},
        {.digest = nth_digest(3),
         .size = 1LL << 40,
         .kind = CHILD_MANIFEST,
         .os = "linux",
         .arch = "arm",
         .variant = "v7"},
    };
    struct manifest m = {
        .media_type = "application/vnd.oci.image.index.v1+json", .children = children, .n_children = 3};
    struct digest d = nth_digest(0);
    struct wire_manifest back;
    struct buf record;
    buf_init(&record, 0);
    assert_int_equal(record_of_manifest(&record, &d, 900, &m), 0);
    assert_true(record_is_sound(RECORD_MANIFEST, bytes(&record), record.len));
    for (size_t n = 0; n < record.len; n++)
        assert_false(record_is_sound(RECORD_MANIFEST, bytes(&record), n));
    record_read_manifest(bytes(&record), record.len, &back);
    assert_true(digest_eq(&back.digest, &d) && back.size == 900 && back.doc.is_index);
    assert_string_equal(back.doc.media_type, m.media_type);
    assert_int_equal(back.doc.n_children, 3);
    for (int i = 0; i < 3; i++)
        assert_memory_equal(&back.doc.children[i], &children[i], sizeof(children[i]));
    manifest_fini(&back.doc);
    buf_fini(&record);
}

static void a_tag_comes_back(void **state) {
    (void)state;
    struct repo_name repo = {"docker.io", "library/nginx"};
    struct tag_facts t = {
        .digest = nth_digest(1), .size = -1, .checked_at = 1700000000, .media_type = "a/b", .deleted = true};
    struct wire_tag back;
    struct buf record;
    buf_init(&record, 0);
    assert_int_equal(record_of_tag(&record, &repo, "1.25", &t), 0);
    assert_true(record_is_sound(RECORD_TAG, bytes(&record), record.len));
    record_read_tag(bytes(&record), record.len, &back);
    assert_memory_equal(&back.repo, &repo, sizeof(repo));
    assert_string_equal(back.tag, "1.25");
    assert_memory_equal(&back.facts, &t, sizeof(t));
    for (size_t i = 0; i < record.len; i++) { /* bytes that were changed are refused or say something else */
        record.data[i] = (char)(record.data[i] ^ 0x80);
        if (record_is_sound(RECORD_TAG, bytes(&record), record.len)) {
            record_read_tag(bytes(&record), record.len, &back);
            assert_true(memcmp(&back.facts, &t, sizeof(t)) != 0 || strcmp(back.tag, "1.25") != 0 ||
                        memcmp(&back.repo, &repo, sizeof(repo)) != 0);
        }
        record.data[i] = (char)(record.data[i] ^ 0x80);
    }
    buf_fini(&record);
}

static void what_has_no_form_leaves_nothing_behind(void **state) {
    (void)state;
    struct digest d = nth_digest(1), other = {.alg = DIGEST_SHA512};
    struct manifest_child child = {.digest = other, .size = 1};
    struct manifest m = {.media_type = "a/b", .children = &child, .n_children = 1};
    struct buf record;
    buf_init(&record, 0);
    assert_int_equal(record_of_blob(&record, &other, 1), ERR_UNSUPPORTED);
    assert_int_equal(record_of_blob(&record, &d, -1), ERR_UNSUPPORTED);
    assert_int_equal(record_of_blob(&record, &d, 1LL << 47), ERR_UNSUPPORTED);
    assert_int_equal(record_of_manifest(&record, &d, 1, &m), ERR_UNSUPPORTED);
    assert_int_equal(record.len, 0);
    buf_fini(&record);
}

static void the_digest_of_a_set_knows_no_order_and_takes_back_what_was_added(void **state) {
    (void)state;
    struct set_digest sum = {0}, reverse = {0}, d[3];
    for (int i = 0; i < 3; i++) {
        struct digest of = nth_digest(i);
        record_hash(&secret, RECORD_BLOB, of.bytes, RECORD_DIGEST, &d[i]);
        d[i].low |= 1ULL << 63; /* the sums carry */
        set_digest_add(&sum, &d[i]);
    }
    for (int i = 2; i >= 0; i--)
        set_digest_add(&reverse, &d[i]);
    assert_true(set_digest_eq(&sum, &reverse));
    set_digest_take(&sum, &d[1]);
    set_digest_take(&sum, &d[2]);
    assert_true(set_digest_eq(&sum, &d[0]));
    struct set_digest tag;
    struct digest of = nth_digest(0);
    record_hash(&secret, RECORD_TAG, of.bytes, RECORD_DIGEST, &tag);
    record_hash(&secret, RECORD_BLOB, of.bytes, RECORD_DIGEST, &d[0]);
    assert_false(set_digest_eq(&tag, &d[0]));
}

static int by_key(const void *a, const void *b) {
    return memcmp(a, b, RECORD_DIGEST);
}

/* All blobs of a tile among the digests of the first n numbers. */
static void fill_tile(struct tile_records *t, unsigned tile, int n) {
    uint8_t *found = malloc((size_t)n * RECORD_BLOB_BYTES);
    size_t count = 0;
    struct buf record;
    buf_init(&record, 0);
    for (int i = 0; i < n; i++) {
        struct digest d = nth_digest(i);
        if (record_tile(RECORD_BLOB, d.bytes, RECORD_DIGEST) != tile) continue;
        buf_clear(&record);
        assert_int_equal(record_of_blob(&record, &d, 1000 + i), 0);
        memcpy(found + count++ * RECORD_BLOB_BYTES, record.data, RECORD_BLOB_BYTES);
    }
    qsort(found, count, RECORD_BLOB_BYTES, by_key);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(tile_records_add(t, found + i * RECORD_BLOB_BYTES, RECORD_BLOB_BYTES), 0);
    buf_fini(&record);
    free(found);
}

static void a_tile_of_blobs_comes_back_and_no_part_of_it_does(void **state) {
    (void)state;
    const unsigned tile = TILES_OF_TAGS + 77;
    struct tile_records t, back;
    struct set_digest was, is;
    struct buf body;
    tile_records_init(&t, RECORD_BLOB);
    fill_tile(&t, tile, 200000);
    assert_true(t.n > 20);
    buf_init(&body, 0);
    assert_int_equal(tile_body_pack(&t, NULL, &body), 0);
    assert_true(body.len < t.n * 36);
    for (size_t len = 0; len <= body.len; len++) {
        tile_records_init(&back, RECORD_BLOB);
        int r = tile_body_unpack(tile, body.data, len, NULL, &back);
        assert_int_equal(r == 0, len == body.len);
        if (r == 0) {
            tile_records_digest(&t, &secret, &was);
            tile_records_digest(&back, &secret, &is);
            assert_true(set_digest_eq(&was, &is));
        }
        tile_records_fini(&back);
    }
    tile_records_init(&back, RECORD_BLOB);
    assert_int_equal(tile_body_unpack(tile + 1, body.data, body.len, NULL, &back), ERR_INVALID);
    tile_records_fini(&back);
    tile_records_fini(&t);
    buf_fini(&body);
}

static void places_are_told_and_read_as_text(void **state) {
    (void)state;
    struct place p = {.number = 12345678901ULL, .digest = {0x0123456789abcdefULL, ~0ULL}}, back;
    char text[PLACE_TEXT_MAX];
    memset(p.epoch, 0xa7, sizeof(p.epoch));
    assert_int_equal(place_parse(place_text(&p, text), &back), 0);
    assert_memory_equal(&p, &back, sizeof(p));
    size_t len = strlen(text);
    for (size_t i = 0; i < len; i++) {
        char was = text[i];
        text[i] = '\0';
        assert_int_equal(place_parse(text, &back), ERR_INVALID);
        text[i] = 'x';
        assert_int_equal(place_parse(text, &back), ERR_INVALID);
        text[i] = was;
    }
    assert_int_equal(place_parse("none", &back), ERR_INVALID);
    assert_int_equal(place_parse("", &back), ERR_INVALID);
}

static void a_message_of_changes_comes_back(void **state) {
    (void)state;
    struct digest d = nth_digest(5);
    struct buf record, out;
    buf_init(&record, 0);
    buf_init(&out, 0);
    assert_int_equal(record_of_blob(&record, &d, 5), 0);
    struct watch_change changes[] = {
        {.number = 7, .kind = RECORD_BLOB, .record = bytes(&record), .len = record.len},
        {.number = 8, .kind = RECORD_BLOB, .removed = true, .record = bytes(&record), .len = RECORD_DIGEST}};
    struct watch_message m = {
        .has_place = true, .place = {.number = 8}, .changes = changes, .n_changes = 2, .now_s = 9};
    assert_int_equal(watch_message_add(&out, &m), 0);
    size_t at, len;
    for (size_t n = 0; n < out.len; n++)
        assert_int_equal(message_next(out.data, n, WATCH_MESSAGE_MAX, &at, &len), ERR_BUSY);
    assert_int_equal(message_next(out.data, out.len, WATCH_MESSAGE_MAX, &at, &len), 0);
    assert_int_equal(message_next(out.data, out.len, len - 1, &at, &len), ERR_TOO_BIG);
    struct watch_message back;
    assert_int_equal(watch_message_decode(&back, out.data + at, len), 0);
    assert_int_equal(back.n_changes, 2);
    assert_true(back.place.number == 8 && back.now_s == 9 && !back.gone && back.changes[1].removed);
    assert_memory_equal(back.changes[0].record, record.data, record.len);
    watch_message_fini(&back);
    changes[1].len--; /* a key that is cut */
    buf_clear(&out);
    assert_int_equal(watch_message_add(&out, &m), 0);
    assert_int_equal(message_next(out.data, out.len, WATCH_MESSAGE_MAX, &at, &len), 0);
    assert_int_equal(watch_message_decode(&back, out.data + at, len), ERR_INVALID);
    watch_message_fini(&back);
    buf_fini(&record);
    buf_fini(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_manifest_comes_back_with_all_its_children),
        cmocka_unit_test(a_tag_comes_back),
        cmocka_unit_test(what_has_no_form_leaves_nothing_behind),
        cmocka_unit_test(the_digest_of_a_set_knows_no_order_and_takes_back_what_was_added),
        cmocka_unit_test(a_tile_of_blobs_comes_back_and_no_part_of_it_does),
        cmocka_unit_test(places_are_told_and_read_as_text),
        cmocka_unit_test(a_message_of_changes_comes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
