/* The replica: what is put is found, beside readers on other threads; its digests are those of a tile that was fetched;
 * its limit holds. */
#include "edge/replica/replica.h"
#include "tests/unit/support/nth_digest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOBS 3000
#define READERS 4

static const uint8_t epoch[EPOCH_BYTES] = {1, 2, 3};

static int put_blob(struct replica *r, int n, int64_t size) {
    struct digest d = nth_digest(n);
    struct buf record;
    buf_init(&record, 0);
    assert_int_equal(record_of_blob(&record, &d, size), 0);
    int code = replica_put(r, RECORD_BLOB, (const uint8_t *)record.data, record.len);
    buf_fini(&record);
    return code;
}

static void put_tag(struct replica *r, const char *tag, int n, int64_t checked_at) {
    struct repo_name repo = {"", "acme/app"};
    struct tag_facts t = {.digest = nth_digest(n), .size = 5, .checked_at = checked_at, .media_type = "a/b"};
    struct buf record;
    buf_init(&record, 0);
    assert_int_equal(record_of_tag(&record, &repo, tag, &t), 0);
    assert_int_equal(replica_put(r, RECORD_TAG, (const uint8_t *)record.data, record.len), 0);
    buf_fini(&record);
}

static bool get_tag(const struct replica *r, const struct repo_name *repo, const char *tag, struct tag_facts *t) {
    uint8_t key[RECORD_TAG_KEY_MAX];
    return replica_tag(r, key, record_tag_key(repo, tag, key), t);
}

static struct replica *replica(int64_t limit) {
    struct replica *r = replica_new(limit);
    replica_set_epoch(r, epoch);
    return r;
}

static void what_is_put_is_found_until_it_is_removed(void **state) {
    (void)state;
    struct replica *r = replica(0);
    struct set_digest none = {0}, was, is;
    int64_t size;
    for (int i = 0; i < BLOBS; i++)
        assert_int_equal(put_blob(r, i, i), 0);
    for (int i = 0; i < BLOBS; i++) {
        struct digest d = nth_digest(i);
        assert_true(replica_blob(r, &d, &size) && size == i);
    }
    struct digest absent = nth_digest(BLOBS);
    assert_false(replica_blob(r, &absent, &size));
    replica_digest(r, &was);
    assert_int_equal(put_blob(r, 7, 99), 0); /* it takes the place of the other */
    replica_digest(r, &is);
    assert_false(set_digest_eq(&was, &is));
    assert_int_equal(put_blob(r, 7, 7), 0);
    replica_digest(r, &is);
    assert_true(set_digest_eq(&was, &is));
    replica_set_epoch(r, (const uint8_t[EPOCH_BYTES]){9});
    replica_digest(r, &is);
    assert_false(set_digest_eq(&was, &is));
    replica_set_epoch(r, epoch);
    replica_digest(r, &is);
    assert_true(set_digest_eq(&was, &is));
    for (int i = 0; i < BLOBS; i++) {
        struct digest d = nth_digest(i);
        replica_remove(r, RECORD_BLOB, d.bytes, RECORD_DIGEST);
        assert_false(replica_blob(r, &d, &size));
    }
    replica_digest(r, &is);
    assert_true(set_digest_eq(&none, &is));
    replica_free(r);
}

static void tags_are_told_apart_and_move(void **state) {
    (void)state;
    struct replica *r = replica(0);
    struct repo_name repo = {"", "acme/app"}, other = {"acme", "app"};
    struct tag_facts t;
    for (int i = 0; i < 500; i++) {
        char tag[16];
        snprintf(tag, sizeof(tag), "v%d", i);
        put_tag(r, tag, i, 100 + i);
    }
    put_tag(r, "v7", 3, 900);
    assert_true(get_tag(r, &repo, "v7", &t));
    struct digest three = nth_digest(3);
    assert_true(digest_eq(&t.digest, &three) && t.checked_at == 900 && t.size == 5);
    assert_true(get_tag(r, &repo, "v499", &t) && t.checked_at == 599);
    assert_false(get_tag(r, &repo, "v500", &t));
    assert_false(get_tag(r, &other, "v7", &t));
    replica_free(r);
}

static void the_limit_holds_and_what_is_there_stays(void **state) {
    (void)state;
    struct replica *r = replica(64 * 1024);
    struct replica_stats s;
    int n = 0;
    int64_t size;
    while (put_blob(r, n, n) == 0)
        n++;
    replica_stats(r, &s);
    assert_true(s.bytes <= 64 * 1024 && s.records[RECORD_BLOB] == n && n > 100);
    struct digest d = nth_digest(0);
    assert_true(replica_blob(r, &d, &size));
    replica_remove(r, RECORD_BLOB, d.bytes, RECORD_DIGEST);
    assert_false(replica_blob(r, &d, &size));
    replica_free(r);
}

/* --- readers beside the writer --- */

struct beside {
    struct replica *r;
    atomic_bool stop;
    _Atomic int64_t read;
};

/* What is read is always whole: a blob's size is its number, or a thousand times as much. */
static void *read_on(void *arg) {
    struct beside *b = arg;
    for (int i = 0; !atomic_load(&b->stop); i = (i + 1) % BLOBS) {
        struct digest d = nth_digest(i);
        struct repo_name repo = {"", "acme/app"};
        struct tag_facts t;
        int64_t size;
        if (replica_blob(b->r, &d, &size) && size != i && size != i * 1000) abort();
        if (get_tag(b->r, &repo, "v1", &t) && t.checked_at % 2 != 1) abort();
        atomic_fetch_add(&b->read, 1);
    }
    return NULL;
}

static void readers_see_whole_records_beside_the_writer(void **state) {
    (void)state;
    struct beside b = {.r = replica(0)};
    pthread_t threads[READERS];
    for (int i = 0; i < READERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_on, &b), 0);
    for (int round = 0; round < 3 || atomic_load(&b.read) < 1000; round++) {
        for (int i = 0; i < BLOBS; i += 3)
            assert_int_equal(put_blob(b.r, i, round % 2 ? i : i * 1000), 0);
        put_tag(b.r, "v1", round, 2 * round + 1);
        for (int i = 0; i < BLOBS; i += 7) {
            struct digest d = nth_digest(i);
            replica_remove(b.r, RECORD_BLOB, d.bytes, RECORD_DIGEST);
        }
    }
    atomic_store(&b.stop, true);
    for (int i = 0; i < READERS; i++)
        pthread_join(threads[i], NULL);
    replica_free(b.r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_put_is_found_until_it_is_removed),
        cmocka_unit_test(tags_are_told_apart_and_move),
        cmocka_unit_test(the_limit_holds_and_what_is_there_stays),
        cmocka_unit_test(readers_see_whole_records_beside_the_writer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
