/* Manifests by digest and by tag: fresh, stale, moved, deleted. */
#include "tests/unit/common/serve/served.h"

#include "common/store/tag.h"

#define HOUR_S 3600
#define HOUR_MS ((int64_t)HOUR_S * 1000)
#define DOCUMENT(what)                                                                               \
    "{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"config\":{" \
    "\"mediaType\":\"application/vnd.oci.empty.v1+json\",\"digest\":"                                \
    "\"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a\",\"size\":2},"       \
    "\"layers\":[],\"annotations\":{\"is\":\"" what "\"}}"

static const char old_text[] = DOCUMENT("old"), new_text[] = DOCUMENT("new");
static struct digest old, new;
static struct script source;

static void script(const char *text, const struct digest *d) {
    script_init(&source, "one", (const unsigned char *)text, (int64_t)strlen(text));
    source.names = d;
}

/* The manifest `old` is held, and the tag v1 of repository a points to it. From now on the source has `new` for it. */
static int start(void **state) {
    (void)state;
    digest_of(&old, DIGEST_SHA256, old_text, strlen(old_text));
    digest_of(&new, DIGEST_SHA256, new_text, strlen(new_text));
    script(old_text, &old);
    world = (typeof(world)){.sources = {&source}, .n_sources = 1, .advise_size = -1};
    served.fresh_for_ms = 0;
    served.stale_for_s = HOUR_S;
    served_start(0);
    struct visit v = visit_now("GET", "/v2/a/manifests/v1", "");
    assert_int_equal(v.status, 200);
    visit_clear(&v);
    wait_until_held(&old);
    served_stop();
    script(new_text, &new);
    return 0;
}

static int stop(void **state) {
    (void)state;
    served_stop();
    world_clean();
    served.fresh_for_ms = served.stale_for_s = 0;
    return 0;
}

static int asked(void) {
    return atomic_load(&source.starts) + atomic_load(&source.heads);
}

static void is_manifest(const struct visit *v, const char *text, const struct digest *d) {
    char digest[DIGEST_STR_MAX];
    if (v->status != 200) fail_msg("%s%s", v->head, v->body);
    visit_has(v, "Content-Type", "application/vnd.oci.image.manifest.v1+json");
    visit_has(v, "Docker-Content-Digest", digest_str(d, digest));
    visit_has(v, "Docker-Distribution-Api-Version", "registry/2.0");
    visit_has_not(v, "Cache-Control");
    assert_int_equal(v->length, strlen(text));
    if (v->body) assert_string_equal(v->body, text);
}

/* GET of the tag v1. */
static struct visit get_tag(void) {
    return visit_now("GET", "/v2/a/manifests/v1", "");
}

static void warns(const struct visit *v, const char *start_of_it) {
    char text[512];
    if (!visit_header(v, "Warning", text, sizeof(text))) fail_msg("no Warning in %s", v->head);
    if (strncmp(text, start_of_it, strlen(start_of_it)) != 0) fail_msg("%s", text);
}

static void held_manifest_is_sent_by_digest_without_its_source(void **state) {
    (void)state;
    char path[256], digest[DIGEST_STR_MAX];
    served_start(0);
    snprintf(path, sizeof(path), "/v2/a/manifests/%s", digest_str(&old, digest));
    static const char *const methods[] = {"GET", "HEAD"};
    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        struct visit v = visit_now(methods[i], path, "");
        is_manifest(&v, old_text, &old);
        visit_has(&v, "Cache-Status", "test; hit");
        visit_has_not(&v, "Age");
        visit_clear(&v);
    }
    assert_int_equal(asked(), 0);
}

static void fresh_tag_is_answered_without_its_source(void **state) {
    (void)state;
    served.fresh_for_ms = HOUR_MS;
    served_start(0);
    struct visit v = get_tag();
    char age[32];
    is_manifest(&v, old_text, &old);
    visit_has_not(&v, "Warning");
    assert_non_null(visit_header(&v, "Age", age, sizeof(age)));
    visit_clear(&v);
    assert_int_equal(asked(), 0);
}

static void stale_tag_that_still_points_there_costs_one_head(void **state) {
    (void)state;
    script(old_text, &old);
    served_start(0);
    struct visit v = get_tag();
    is_manifest(&v, old_text, &old);
    visit_has(&v, "Cache-Status", "test; hit");
    visit_has_not(&v, "Warning");
    visit_clear(&v);
    assert_int_equal(atomic_load(&source.heads), 1);
    assert_int_equal(atomic_load(&source.starts), 0);
}

static void tag_that_was_just_confirmed_is_fresh_again(void **state) {
    (void)state;
    script(old_text, &old);
    served.fresh_for_ms = 20 * 1000;
    served_start(0);
    struct tag_facts facts;
    assert_true(store_tag_get(world.store, "up/a", "v1", &facts));
    facts.checked_at -= 25;
    store_tag_set(world.store, "up/a", "v1", &facts);
    for (int i = 0; i < 2; i++) {
        struct visit v = get_tag();
        is_manifest(&v, old_text, &old);
        visit_clear(&v);
    }
    assert_int_equal(atomic_load(&source.heads), 1);
}

static void stale_tag_that_has_moved_is_followed(void **state) {
    (void)state;
    served_start(0);
    struct visit v = visit_now("HEAD", "/v2/a/manifests/v1", "");
    is_manifest(&v, new_text, &new);
    visit_clear(&v);
    assert_int_equal(atomic_load(&source.starts), 0);
    v = get_tag();
    is_manifest(&v, new_text, &new);
    visit_has_not(&v, "Warning");
    visit_clear(&v);
    wait_until_held(&new);
}

static void stale_tag_is_sent_with_a_warning_when_its_source_cannot_be_asked(void **state) {
    (void)state;
    source.refuse = ERR_UNREACHABLE;
    served_start(0);
    struct visit v = get_tag();
    is_manifest(&v, old_text, &old);
    warns(&v, "299 - \"stale: one: scripted; last checked ");
    visit_clear(&v);
    assert_true(asked() > 0);
}

static void tag_that_is_too_old_is_not_sent(void **state) {
    (void)state;
    source.refuse = ERR_UNREACHABLE;
    served_start(0);
    struct tag_facts facts;
    assert_true(store_tag_get(world.store, "up/a", "v1", &facts));
    facts.checked_at -= 2 * HOUR_S;
    store_tag_set(world.store, "up/a", "v1", &facts);
    struct visit v = get_tag();
    visit_is_error(&v, 502, "UNAVAILABLE");
    assert_non_null(strstr((char *)v.body, "more than stale_for allows (3600 s)"));
    visit_clear(&v);
}

static int64_t has_no_bytes(struct script_fetch *f, unsigned char *chunk, int64_t n) {
    (void)f;
    (void)chunk;
    (void)n;
    return ERR_NOT_FOUND;
}

static void last_held_manifest_is_sent_with_a_warning_when_the_new_one_cannot_be_had(void **state) {
    (void)state;
    source.rule = has_no_bytes;
    served_start(0);
    char moved[64], digest[DIGEST_STR_MAX];
    snprintf(moved, sizeof(moved), "299 - \"stale: the tag has moved to %.19s", digest_str(&new, digest));
    /* The second is answered by what is remembered of the first. */
    for (int i = 0; i < 2; i++) {
        struct visit v = get_tag();
        is_manifest(&v, old_text, &old);
        warns(&v, moved);
        visit_clear(&v);
    }
    assert_int_equal(atomic_load(&source.starts), 1);
}

/* A client has the whole of a manifest before the store does, and the tag may move in between. */
static void last_manifest_is_sent_also_while_the_store_takes_it_in(void **state) {
    (void)state;
    static const char text[] = DOCUMENT("of b");
    struct digest d;
    struct blob_info info;
    digest_of(&d, DIGEST_SHA256, text, strlen(text));
    script(text, &d);
    served_start(0);
    world_shut_pool();
    struct visit v = visit_now("GET", "/v2/b/manifests/v1", "");
    is_manifest(&v, text, &d);
    visit_clear(&v);
    assert_false(store_lookup(world.store, &d, &info));
    static const struct {
        int refuse;
        const char *warning;
    } then[] = {{ERR_NOT_FOUND, "299 - \"deleted: "}, {0, "299 - \"stale: the tag has moved to "}};
    script(new_text, &new);
    source.rule = has_no_bytes;
    for (size_t i = 0; i < ARRAY_LEN(then); i++) {
        source.refuse = then[i].refuse;
        v = visit_now("GET", "/v2/b/manifests/v1", "");
        is_manifest(&v, text, &d);
        warns(&v, then[i].warning);
        visit_clear(&v);
    }
    assert_false(store_lookup(world.store, &d, &info));
    world_open_pool();
    wait_until_over();
    assert_true(store_lookup(world.store, &d, &info));
}

static void deleted_tag_is_sent_with_a_warning_while_its_manifest_is_held(void **state) {
    (void)state;
    source.refuse = ERR_NOT_FOUND;
    served_start(0);
    struct visit v = get_tag();
    is_manifest(&v, old_text, &old);
    warns(&v, "299 - \"deleted: ");
    visit_clear(&v);
    v = visit_now("GET", "/v2/a/manifests/v2", "");
    visit_is_error(&v, 404, "MANIFEST_UNKNOWN");
    assert_non_null(strstr((char *)v.body, "no such tag: up/a:v2"));
    visit_clear(&v);
}

/* The tag of one repository says nothing about another. */
static void held_manifest_of_another_repository_is_not_sent_when_the_source_says_no(void **state) {
    (void)state;
    source.refuse = ERR_NOT_FOUND;
    served_start(0);
    char path[256], digest[DIGEST_STR_MAX];
    snprintf(path, sizeof(path), "/v2/b/manifests/%s", digest_str(&old, digest));
    struct visit v = visit_now("GET", path, "");
    visit_is_error(&v, 404, "MANIFEST_UNKNOWN");
    visit_clear(&v);
    v = visit_now("GET", "/v2/b/manifests/v1", "");
    visit_is_error(&v, 404, "MANIFEST_UNKNOWN");
    visit_clear(&v);
}

#define T(test) cmocka_unit_test_setup_teardown(test, start, stop)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(held_manifest_is_sent_by_digest_without_its_source),
        T(fresh_tag_is_answered_without_its_source),
        T(stale_tag_that_still_points_there_costs_one_head),
        T(tag_that_was_just_confirmed_is_fresh_again),
        T(stale_tag_that_has_moved_is_followed),
        T(stale_tag_is_sent_with_a_warning_when_its_source_cannot_be_asked),
        T(tag_that_is_too_old_is_not_sent),
        T(last_held_manifest_is_sent_with_a_warning_when_the_new_one_cannot_be_had),
        T(last_manifest_is_sent_also_while_the_store_takes_it_in),
        T(deleted_tag_is_sent_with_a_warning_while_its_manifest_is_held),
        T(held_manifest_of_another_repository_is_not_sent_when_the_source_says_no),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
