/* The door of all that is learned: in which order who is told, and what a refusal stops. */
#include "tests/unit/common/store/fixture.h"

#include "common/content/content.h"

static char dir[256];
static struct store *store;
static struct content *door;
static const struct repo_name app = {.path = "acme/app"};

/* What was called, in order; and with it whether the store knew the tag by then. */
static char said[256];
static bool refuses;

static void say(const char *who) {
    struct tag_facts rec;
    size_t len = strlen(said);
    snprintf(said + len, sizeof(said) - len, "%s%s%s", len ? ", " : "", who,
             store_tag_get(store, "acme/app", "v1", &rec) ? "+tag" : "");
}

static void hear(const struct content_news *n, void *arg) {
    (void)n;
    say(arg);
}

static void hear_held(const struct digest *d, bool held, void *arg) {
    (void)d;
    (void)arg;
    say(held ? "held" : "lost");
}

static int record(const struct content_news *n, struct error *err, void *arg) {
    (void)n;
    say(arg);
    return refuses ? error_set(err, ERR_NO_SPACE, "the disk is full") : 0;
}

static void on_change(const struct digest *d, bool held, void *arg) {
    (void)arg;
    content_held(door, d, held);
}

static int set_up(void **state) {
    (void)state;
    struct store_config cfg = {.dir = fixture_dir(dir), .on_change = on_change};
    said[0] = '\0';
    refuses = false;
    door = content_new();
    if (store_open(&store, &cfg, NULL) < 0) return -1;
    content_set_store(door, store);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    store_close(store);
    content_free(door);
    fixture_remove(dir);
    return 0;
}

static void listen_as(const char *name) {
    static char names[4][8];
    static unsigned n;
    char *own = names[n++ % 4];
    snprintf(own, 8, "%s", name);
    content_listen(door, &(struct content_listener){.learned = hear, .arg = own});
}

static void record_by(const char *name) {
    content_set_record(door, &(struct content_record){.add = record, .arg = (void *)(uintptr_t)name});
}

static struct digest keep(void) {
    struct digest d;
    digest_of(&d, DIGEST_SHA256, "bytes", 5);
    assert_int_equal(put_bytes(store, &d, "bytes", 5, &(struct commit_info){.size = 5}, NULL), 0);
    return d;
}

static struct content_news news_of(const struct content_blob *b, const struct tag_facts *rec) {
    return (struct content_news){.repo = &app, .blobs = b, .n_blobs = 1, .tag = "v1", .facts = rec};
}

static bool is_hosted(const struct digest *d) {
    struct blob_info info;
    return store_lookup(store, d, &info) && (info.flags & BLOB_HOSTED);
}

static void hosted_content_is_recorded_then_stored_then_listeners_are_told(void **state) {
    (void)state;
    const struct content_blob blob = {.digest = keep(), .size = 5};
    const struct tag_facts rec = {.digest = blob.digest, .checked_at = 1, .size = 5};
    struct content_news n = news_of(&blob, &rec);
    struct error err = {0};
    record_by("record");
    listen_as("one");
    listen_as("two");
    assert_int_equal(content_host(door, &n, &err), 0);
    assert_string_equal(said, "record, one+tag, two+tag");
    assert_true(is_hosted(&blob.digest));
}

static void content_that_the_record_refuses_is_not_reported(void **state) {
    (void)state;
    const struct content_blob blob = {.digest = keep(), .size = 5};
    const struct tag_facts rec = {.digest = blob.digest, .checked_at = 1, .size = 5};
    struct content_news n = news_of(&blob, &rec);
    struct error err = {0};
    listen_as("one");
    assert_int_equal(content_host(door, &n, &err), ERR_UNSUPPORTED); /* there is no record at all */
    record_by("record");
    refuses = true;
    assert_int_equal(content_host(door, &n, &err), ERR_NO_SPACE);
    assert_string_equal(err.msg, "the disk is full");
    assert_string_equal(said, "record");
    assert_false(is_hosted(&blob.digest));
    refuses = false;
    assert_int_equal(content_host(door, &n, &err), 0);
    assert_string_equal(said, "record, record, one+tag");
}

static void mirrored_content_is_not_recorded(void **state) {
    (void)state;
    const struct content_blob blob = {.digest = keep(), .size = 5};
    const struct tag_facts rec = {.digest = blob.digest, .checked_at = 1, .size = 5};
    struct content_news n = news_of(&blob, &rec);
    record_by("record");
    listen_as("one");
    n.stored = true; /* as the comparison after a start has it */
    content_learn(door, &n);
    assert_string_equal(said, "one");
    n.stored = false;
    content_learn(door, &n);
    assert_string_equal(said, "one, one+tag");
    assert_false(is_hosted(&blob.digest));
}

static void a_listener_that_left_is_not_called_and_the_others_are(void **state) {
    (void)state;
    static char own[] = "own";
    struct digest d = keep();
    const struct content_blob blob = {.digest = d, .size = 5};
    const struct content_news n = {.blobs = &blob, .n_blobs = 1};
    content_listen(door, &(struct content_listener){.held = hear_held, .arg = own}); /* wants nothing else */
    listen_as("one");
    content_learn(door, &n);
    content_held(door, &d, false);
    assert_string_equal(said, "one, lost");
    content_leave(door, own);
    content_held(door, &d, true);
    content_learn(door, &n);
    assert_string_equal(said, "one, lost, one");
}

static void the_store_says_what_it_gets_and_loses(void **state) {
    (void)state;
    static char own[] = "own";
    content_listen(door, &(struct content_listener){.held = hear_held, .arg = own});
    struct digest d = keep();
    assert_string_equal(said, "held");
    assert_true(store_unreadable(store, &d, NULL, -EIO));
    assert_int_equal(store_sync(store), 0);
    assert_string_equal(said, "held, lost");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(hosted_content_is_recorded_then_stored_then_listeners_are_told, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(content_that_the_record_refuses_is_not_reported, set_up, tear_down),
        cmocka_unit_test_setup_teardown(mirrored_content_is_not_recorded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_listener_that_left_is_not_called_and_the_others_are, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_store_says_what_it_gets_and_loses, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
