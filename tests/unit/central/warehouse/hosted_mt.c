/* Images are hosted, asked for and counted while the store evicts whatever may go. */
#include "tests/unit/central/warehouse/fixture.h"

#define IMAGES 60
#define LOADERS 3

static _Atomic bool over;

static struct digest put_layer(unsigned n, int64_t *size) {
    struct digest d;
    struct error err = {0};
    uint32_t scope;
    char *data = fixture_bytes(n, 3000, &d);
    *size = 3000;
    hosted_hold(record, &d);
    assert_int_equal(store_scope(store, "acme/app", &scope), 0);
    struct commit_info info = {.size = *size, .scopes = &scope, .n_scopes = 1};
    if (put_bytes(store, &d, data, 3000, &info, &err) < 0) fail_msg("%s", err.msg);
    free(data);
    return d;
}

static void *loader(void *arg) {
    unsigned first = *(unsigned *)arg;
    for (unsigned n = first; n < IMAGES; n += LOADERS) {
        struct hosted_blob b = {.size = 0};
        struct error err = {0};
        char tag[32];
        b.digest = put_layer(n, &b.size);
        struct tag_facts t = {.digest = b.digest, .size = b.size, .checked_at = 1};
        snprintf(tag, sizeof(tag), "v%u", n);
        if (hosted_add(record, "acme/app", &b, 1, tag, &t, &err) < 0) fail_msg("%s", err.msg);
        store_set_hosted(store, &b.digest, true);
        hosted_release(record, &b.digest);
    }
    return NULL;
}

static void *evicts(void *arg) {
    while (!over)
        prune_to(store, 0);
    return arg;
}

static void *asks(void *arg) {
    for (unsigned n = 0; !over; n++) {
        struct digest d;
        struct hosted_missing m;
        struct hosted_counts c;
        struct error err = {0};
        free(fixture_bytes(n % IMAGES, 3000, &d));
        int r = hosted_restore(record, store, "acme/app", &d, true, &err);
        if (r != 0 && r != ERR_NOT_FOUND) fail_msg("%s", err.msg);
        store_tag_forget(store, "acme/app", "v1");
        hosted_each_missing(record, store, NULL, NULL, &m);
        assert_int_equal(m.n, 0);
        hosted_count(record, &c);
    }
    return arg;
}

static void hosted_blobs_stay_while_all_others_are_evicted(void **state) {
    (void)state;
    pthread_t loaders[LOADERS], evictor, asker;
    unsigned firsts[LOADERS];
    over = false;
    pthread_create(&evictor, NULL, evicts, NULL);
    pthread_create(&asker, NULL, asks, NULL);
    for (unsigned i = 0; i < LOADERS; i++) {
        firsts[i] = i;
        pthread_create(&loaders[i], NULL, loader, &firsts[i]);
    }
    for (unsigned i = 0; i < LOADERS; i++)
        pthread_join(loaders[i], NULL);
    over = true;
    pthread_join(evictor, NULL);
    pthread_join(asker, NULL);
    for (unsigned n = 0; n < IMAGES; n++) {
        struct digest d;
        free(fixture_bytes(n, 3000, &d));
        assert_true(is_hosted(&d));
    }
    struct hosted_counts c;
    hosted_count(record, &c);
    assert_true(c.blobs == IMAGES && c.tags == IMAGES);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(hosted_blobs_stay_while_all_others_are_evicted, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
