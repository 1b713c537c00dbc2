/* Names, tags, references and images as a person types them. */
#include "common/oci/name.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void repo_paths_follow_the_grammar(void **state) {
    (void)state;
    static const char *const good[] = {"a", "library/nginx", "a.b/c_d/e__f/g-h/i---j", "0/1", "my.app"};
    static const char *const bad[] = {"",      "/",  "/a", "a/",   "a//b",   "A",    "a/B", ".a",  "a.",  "a..b",
                                      "a___b", "_a", "a-", "a._b", "../etc", "a/..", "a b", "a:1", "a\n", "\xc3\xa9"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_int_equal(repo_path_check(good[i], strlen(good[i])), 0);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(repo_path_check(bad[i], strlen(bad[i])), ERR_INVALID);
    char s[REPO_MAX + 1];
    memset(s, 'a', sizeof(s));
    assert_int_equal(repo_path_check(s, REPO_MAX), 0);
    assert_int_equal(repo_path_check(s, REPO_MAX + 1), ERR_INVALID);
    assert_int_equal(repo_path_check("a\0b", 3), ERR_INVALID);
}

static void tags_follow_the_grammar(void **state) {
    (void)state;
    char s[TAG_MAX + 1];
    memset(s, 'v', sizeof(s));
    assert_int_equal(tag_check(s, TAG_MAX), 0);
    assert_int_equal(tag_check(s, TAG_MAX + 1), ERR_INVALID);
    assert_int_equal(tag_check("_V1.2-x", 7), 0);
    assert_int_equal(tag_check("", 0), ERR_INVALID);
    assert_int_equal(tag_check(".a", 2), ERR_INVALID);
    assert_int_equal(tag_check("-a", 2), ERR_INVALID);
    assert_int_equal(tag_check("a/b", 3), ERR_INVALID);
}

static void hosts_are_names_or_addresses_with_a_port_if_any(void **state) {
    (void)state;
    static const char *const good[] = {"docker.io",     "localhost",  "localhost:5000", "[::1]:5000",
                                       "[2001:db8::1]", "10.0.0.1:1", "my_host",        "Ghcr.io"};
    static const char *const bad[] = {"",       ":5000", "a:", "a:0",   "a:65536", "a:5x",  "a..b",
                                      ".a",     "a.",    "-a", "a/b",   "a@b",     "[::1",  "[]",
                                      "[::1]x", "a b",   "a?", "a:1:2", "[::1]:",  "a%2fb", "user:pw@h"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_int_equal(host_check(good[i], strlen(good[i])), 0);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(host_check(bad[i], strlen(bad[i])), ERR_INVALID);
}

static void canonical_names_show_the_upstream_unless_hosted(void **state) {
    (void)state;
    struct repo_name a = {"docker.io", "library/nginx"}, b = {"", "sample/hello"};
    char s[REPO_STR_MAX];
    assert_string_equal(repo_name_str(&a, s), "docker.io/library/nginx");
    assert_string_equal(repo_name_str(&b, s), "sample/hello");
}

static void a_reference_is_a_digest_if_it_holds_a_colon(void **state) {
    (void)state;
    struct reference r;
    char s[DIGEST_STR_MAX];
    assert_int_equal(reference_parse(&r, "sha256:" HEX64, 71), 0);
    assert_true(r.is_digest);
    assert_string_equal(reference_str(&r, s), "sha256:" HEX64);
    assert_int_equal(reference_parse(&r, "v1", 2), 0);
    assert_false(r.is_digest);
    assert_string_equal(reference_str(&r, s), "v1");
    assert_int_equal(reference_parse(&r, "md5:abc", 7), ERR_UNSUPPORTED);
    assert_int_equal(reference_parse(&r, "sha256:abc", 10), ERR_INVALID);
    assert_int_equal(reference_parse(&r, "", 0), ERR_INVALID);
}

static void images_are_read_as_people_type_them(void **state) {
    (void)state;
    static const struct {
        const char *in, *name, *ref;
    } cases[] = {
        {"alpine", "alpine", "latest"},
        {"alpine:3", "alpine", "3"},
        {"docker.io/library/alpine:3", "docker.io/library/alpine", "3"},
        {"localhost:5000/a/b", "localhost:5000/a/b", "latest"},
        {"localhost:5000/a/b:c", "localhost:5000/a/b", "c"},
        {"[::1]:5000/a:c", "[::1]:5000/a", "c"},
        {"name@sha256:" HEX64, "name", "sha256:" HEX64},
        {"name:tag@sha256:" HEX64, "name", "sha256:" HEX64},
        {"localhost:5000/x@sha256:" HEX64, "localhost:5000/x", "sha256:" HEX64},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char name[REPO_STR_MAX], ref[DIGEST_STR_MAX];
        struct reference r;
        struct error err = {0};
        assert_int_equal(image_ref_parse(cases[i].in, name, &r, &err), 0);
        assert_string_equal(name, cases[i].name);
        assert_string_equal(reference_str(&r, ref), cases[i].ref);
    }
}

static void a_mistyped_image_is_refused_with_a_hint(void **state) {
    (void)state;
    static const struct {
        const char *in;
        int code;
        const char *hint;
    } cases[] = {
        {"Alpine", ERR_INVALID, "lower case"},
        {"https://docker.io/alpine", ERR_INVALID, "leave out \"https://\": docker.io/alpine"},
        {"docker://alpine", ERR_INVALID, "leave out"},
        {"", ERR_INVALID, "docker.io/library/nginx"},
        {"a/", ERR_INVALID, "docker.io/library/nginx"},
        {"a:", ERR_INVALID, "a tag has"},
        {"a:b c", ERR_INVALID, "a tag has"},
        {"a@", ERR_INVALID, "a digest is"},
        {"a@sha256:12", ERR_INVALID, "a digest is"},
        {"a@md5:12", ERR_UNSUPPORTED, "a digest is"},
        {"a:!@sha256:" HEX64, ERR_INVALID, "a tag has"},
        {"../../etc/passwd", ERR_INVALID, ""},
        {":", ERR_INVALID, ""},
        {"@", ERR_INVALID, ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char name[REPO_STR_MAX];
        struct reference r;
        struct error err = {0};
        assert_int_equal(image_ref_parse(cases[i].in, name, &r, &err), cases[i].code);
        assert_int_equal(err.code, cases[i].code);
        assert_non_null(strstr(err.hint, cases[i].hint));
    }
    char *lots = malloc(100001), name[REPO_STR_MAX];
    memset(lots, 'a', 100000);
    lots[100000] = '\0';
    struct reference r;
    struct error err;
    assert_int_equal(image_ref_parse(lots, name, &r, &err), ERR_INVALID);
    free(lots);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(repo_paths_follow_the_grammar),
        cmocka_unit_test(tags_follow_the_grammar),
        cmocka_unit_test(hosts_are_names_or_addresses_with_a_port_if_any),
        cmocka_unit_test(canonical_names_show_the_upstream_unless_hosted),
        cmocka_unit_test(a_reference_is_a_digest_if_it_holds_a_colon),
        cmocka_unit_test(images_are_read_as_people_type_them),
        cmocka_unit_test(a_mistyped_image_is_refused_with_a_hint),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
