/* Which repository a request means: every rule as rows of one table. */
#include "common/oci/resolve.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const char *const upstreams[] = {"docker.io", "ghcr.io", "localhost:5000", "localhost", "r.example:5000"};
static const char *const hosted[] = {"acme/**", "sample/*", "tool-*", "deep/**/end", "exact/name"};
static const char *const own[] = {"registry.img.acme.example", "10.1.0.5:5050", "r.example"};
static const char *const addresses[] = {"127.0.0.1:5050", "localhost:5000"};
static const struct name_rules rules = {upstreams,
                                        ARRAY_LEN(upstreams),
                                        "docker.io",
                                        hosted,
                                        ARRAY_LEN(hosted),
                                        own,
                                        ARRAY_LEN(own),
                                        addresses,
                                        ARRAY_LEN(addresses),
                                        0};

#define NOT_CONFIGURED(host) NULL, "`- name: \"" host "\"`"
static const struct {
    const char *ns, *path, *name, *says;
} cases[] = {
    /* 1. ns names a configured upstream. */
    {"docker.io", "library/nginx", "docker.io/library/nginx", NULL},
    {"docker.io", "nginx", "docker.io/library/nginx", NULL},
    {"index.docker.io", "nginx", "docker.io/library/nginx", NULL},
    {"registry-1.docker.io", "a/b", "docker.io/a/b", NULL},
    {"Docker.IO", "a/b", "docker.io/a/b", NULL},
    {"ghcr.io", "nginx", "ghcr.io/nginx", NULL},
    {"localhost:5000", "x", "localhost:5000/x", NULL},
    {"r.example:5000", "x", "r.example:5000/x", NULL}, /* an upstream beside us on the same host */
    {"ghcr.io", "acme/app", "ghcr.io/acme/app", NULL}, /* ns decides before hosted */
    {"ghcr.io", "docker.io/a", "ghcr.io/docker.io/a", NULL},
    {"quay.io", "a/b", NOT_CONFIGURED("quay.io")},
    {"localhost:5001", "a", NOT_CONFIGURED("localhost:5001")},
    {"quay.io", "acme/app", NOT_CONFIGURED("quay.io")},
    /* 1. ns that is one of our own names is none. */
    {"registry.img.acme.example", "acme/app", "acme/app", NULL},
    {"registry.img.acme.example:5050", "acme/app", "acme/app", NULL},
    {"REGISTRY.img.acme.example", "nginx", "docker.io/library/nginx", NULL},
    {"10.1.0.5:5050", "ghcr.io/a/b", "ghcr.io/a/b", NULL},
    {"10.1.0.5", "a", NOT_CONFIGURED("10.1.0.5")},
    {"", "nginx", "docker.io/library/nginx", NULL},
    /* 1. ns with odd characters. */
    {"../etc", "a", NULL, "not a host"},
    {"docker.io/x", "a", NULL, "not a host"},
    {"a b", "a", NULL, "not a host"},
    {"docker.io\n", "a", NULL, "not a host"},
    {"user@docker.io", "a", NULL, "not a host"},
    {"docker.io:99999", "a", NULL, "not a host"},
    /* 2. First component names a configured upstream. */
    {NULL, "docker.io/library/nginx", "docker.io/library/nginx", NULL},
    {NULL, "docker.io/nginx", "docker.io/library/nginx", NULL},
    {NULL, "index.docker.io/nginx", "docker.io/library/nginx", NULL},
    {NULL, "ghcr.io/a", "ghcr.io/a", NULL},
    {NULL, "localhost:5000/x", "localhost:5000/x", NULL},
    {NULL, "localhost/x", "localhost/x", NULL},
    {NULL, "quay.io/a/b", NOT_CONFIGURED("quay.io")},
    {NULL, "localhost:5001/x", NOT_CONFIGURED("localhost:5001")},
    {NULL, "ghcr.io", "docker.io/library/ghcr.io", NULL}, /* one component is no host */
    /* 2. This node's own name in front, as a client would say it: once, and no upstream of that name. */
    {NULL, "10.1.0.5:5050/ghcr.io/a/b", "ghcr.io/a/b", NULL},
    {NULL, "127.0.0.1:5050/docker.io/nginx", "docker.io/library/nginx", NULL},
    {NULL, "127.0.0.1:5050/acme/app", "acme/app", NULL},
    {NULL, "127.0.0.1:5050/nginx", "docker.io/library/nginx", NULL},
    {NULL, "registry.img.acme.example/nginx", "docker.io/library/nginx", NULL},
    {NULL, "127.0.0.1:5050/127.0.0.1:5050/nginx", NOT_CONFIGURED("127.0.0.1:5050")},
    {NULL, "127.0.0.1:5051/nginx", NOT_CONFIGURED("127.0.0.1:5051")},
    {NULL, "127.0.0.1:5050/A", NULL, "not a repository"},
    {"127.0.0.1:5050", "nginx", "docker.io/library/nginx", NULL},
    /* 3. Hosted, and it never falls through. */
    {NULL, "acme/app", "acme/app", NULL},
    {NULL, "acme/team/app", "acme/team/app", NULL},
    {NULL, "acme/does-not-exist", "acme/does-not-exist", NULL},
    {NULL, "acme", "docker.io/library/acme", NULL},
    {NULL, "acmes/app", "docker.io/acmes/app", NULL},
    {NULL, "sample/hello", "sample/hello", NULL},
    {NULL, "sample/a/b", "docker.io/sample/a/b", NULL},
    {NULL, "tool-x", "tool-x", NULL},
    {NULL, "atool-x", "docker.io/library/atool-x", NULL},
    {NULL, "deep/a/b/end", "deep/a/b/end", NULL},
    {NULL, "deep/end/x/end", "deep/end/x/end", NULL},
    {NULL, "deep/end", "docker.io/deep/end", NULL},
    {NULL, "exact/name", "exact/name", NULL},
    {NULL, "exact/name/x", "docker.io/exact/name/x", NULL},
    /* 4. The default upstream. */
    {NULL, "nginx", "docker.io/library/nginx", NULL},
    {NULL, "library/nginx", "docker.io/library/nginx", NULL},
    {NULL, "a/b/c", "docker.io/a/b/c", NULL},
    /* Not names. */
    {NULL, "", NULL, "not a repository"},
    {NULL, "A/b", NULL, "not a repository"},
    {NULL, "a/../b", NULL, "not a repository"},
    {NULL, "a//b", NULL, "not a repository"},
    {NULL, "docker.io/", NULL, "not a repository"},
    {NULL, "docker.io/A", NULL, "not a repository"},
    {NULL, "quay.io/../x", NULL, "not a repository"},
    {NULL, "bad_:x/y", NULL, "not a repository"},
    {"docker.io", "../x", NULL, "not a repository"},
};

static void every_case_of_the_table_resolves_as_written(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct repo_name got;
        struct error err = {0};
        int r = resolve_repo(&rules, cases[i].ns, cases[i].path, strlen(cases[i].path), &got, &err);
        char s[REPO_STR_MAX];
        if (cases[i].name ? r != 0 || strcmp(repo_name_str(&got, s), cases[i].name) != 0
                          : r >= 0 || !strstr(err.msg, cases[i].says))
            fail_msg("row %zu: ns %s path %s: %d %s %s", i, cases[i].ns, cases[i].path, r, repo_name_str(&got, s),
                     err.msg);
        if (!cases[i].name) {
            bool odd = strncmp(cases[i].says, "not", 3) == 0;
            assert_int_equal(r, odd ? ERR_INVALID : ERR_NOT_FOUND);
        }
    }
}

static void a_canonical_name_is_its_own_resolution(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        if (!cases[i].name) continue;
        struct repo_name got;
        char s[REPO_STR_MAX];
        assert_int_equal(resolve_repo(&rules, NULL, cases[i].name, strlen(cases[i].name), &got, NULL), 0);
        assert_string_equal(repo_name_str(&got, s), cases[i].name);
    }
}

static void bare_names_are_unknown_without_a_default(void **state) {
    (void)state;
    struct name_rules r = rules;
    r.default_upstream = NULL;
    struct repo_name got;
    struct error err;
    assert_int_equal(resolve_repo(&r, NULL, "nginx", 5, &got, &err), ERR_NOT_FOUND);
    assert_non_null(strstr(err.msg, "default_upstream"));
    assert_int_equal(resolve_repo(&r, NULL, "acme/x", 6, &got, &err), 0);
}

static void the_library_prefix_never_makes_a_name_too_long(void **state) {
    (void)state;
    char s[REPO_MAX];
    memset(s, 'a', sizeof(s));
    struct repo_name got;
    assert_int_equal(resolve_repo(&rules, NULL, s, REPO_MAX - 8, &got, NULL), 0);
    assert_int_equal(resolve_repo(&rules, NULL, s, REPO_MAX - 7, &got, NULL), ERR_INVALID);
}

static void a_long_path_cannot_make_patterns_slow(void **state) {
    (void)state;
    static const char *const evil[] = {"**/a/**/a/**/a/**/a/**/a/**/a/**/b", "*a*a*a*a*a*a*a*a*a*a*b"};
    struct name_rules r = rules;
    r.hosted = evil;
    r.n_hosted = 2;
    char s[REPO_MAX + 1];
    for (size_t i = 0; i < REPO_MAX; i++)
        s[i] = i % 2 ? '/' : 'a';
    s[REPO_MAX] = '\0';
    assert_false(hosted_match(&r, s));
    memset(s, 'a', REPO_MAX);
    assert_false(hosted_match(&r, s));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_case_of_the_table_resolves_as_written),
        cmocka_unit_test(a_canonical_name_is_its_own_resolution),
        cmocka_unit_test(bare_names_are_unknown_without_a_default),
        cmocka_unit_test(the_library_prefix_never_makes_a_name_too_long),
        cmocka_unit_test(a_long_path_cannot_make_patterns_slow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
