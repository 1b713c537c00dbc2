/* An edge's configuration: defaults, central's URL, keys not built yet. */
#include "edge/config/edge_config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static struct error err;

static int load(const char *const *sets, size_t n, struct edge_config **c) {
    struct node_config *node = NULL;
    err = (struct error){0};
    struct config_source src = {.default_file = "/nonexistent/edge.yaml", .sets = sets, .n_sets = n};
    int r = edge_config_load(&src, &node, &err);
    *c = (struct edge_config *)node;
    return r;
}

static void defaults_find_central_on_loopback(void **state) {
    (void)state;
    struct edge_config *c;
    assert_int_equal(load(NULL, 0, &c), 0);
    assert_string_equal(c->central, "http://127.0.0.1:5001");
    assert_string_equal(c->node.registry_listen, ":5050");
    assert_string_equal(c->node.admin_listen, "127.0.0.1:5052");
    assert_null(c->node.node_listen);
    assert_null(c->node.address);
    assert_int_equal(c->node.stale_for_ms, 7 * 86400000LL);
    assert_int_equal(c->node.store_min_free, GiB);
    edge_config_free(&c->node);
}

static void central_is_a_url_without_its_last_slash(void **state) {
    (void)state;
    struct edge_config *c;
    static const char *const good[] = {"central=https://central.acme.example:5001/"};
    static const char *const bad[] = {"central=central.acme.example:5001"};
    assert_int_equal(load(good, 1, &c), 0);
    assert_string_equal(c->central, "https://central.acme.example:5001");
    edge_config_free(&c->node);
    assert_int_equal(load(bad, 1, &c), ERR_INVALID);
    assert_non_null(strstr(err.msg, "must begin with https:// or http://"));
}

static void keys_not_built_yet_are_named(void **state) {
    (void)state;
    struct edge_config *c;
    static const char *const sets[] = {"site=shanghai", "peers.listen=:5051", "prefetch={rate: 20Mbit/s}"};
    static const char *const bad[] = {"prefetch.rate=fast"};
    assert_int_equal(load(sets, 3, &c), 0);
    assert_string_equal(c->site, "shanghai");
    assert_int_equal(c->node.n_no_effect, 2);
    assert_string_equal(c->node.no_effect[0], "peers.listen");
    assert_string_equal(c->node.no_effect[1], "prefetch.rate");
    edge_config_free(&c->node);
    assert_int_equal(load(bad, 1, &c), ERR_INVALID);
}

static void central_only_keys_are_unknown(void **state) {
    (void)state;
    struct edge_config *c;
    static const char *const bad[] = {"upstreams=[]"};
    assert_int_equal(load(bad, 1, &c), ERR_INVALID);
    assert_non_null(strstr(err.msg, "unknown key \"upstreams\""));
    assert_non_null(strstr(err.hint, "central"));
}

static void the_fleets_certificate_excludes_that_of_files(void **state) {
    (void)state;
    struct edge_config *c;
    static const char *const fleet[] = {"registry.tls=fleet"};
    static const char *const both[] = {"registry.tls=fleet", "registry.cert_file=/x.crt", "registry.key_file=/x.key"};
    static const char *const word[] = {"registry.tls=on"};
    assert_int_equal(load(fleet, 1, &c), 0);
    assert_true(node_config_tls(&c->node));
    edge_config_free(&c->node);
    assert_int_equal(load(NULL, 0, &c), 0);
    assert_false(node_config_tls(&c->node));
    edge_config_free(&c->node);
    assert_int_equal(load(both, 3, &c), ERR_INVALID);
    assert_non_null(strstr(err.msg, "goes without registry.cert_file"));
    assert_int_equal(load(word, 1, &c), ERR_INVALID);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_find_central_on_loopback),
        cmocka_unit_test(central_is_a_url_without_its_last_slash),
        cmocka_unit_test(keys_not_built_yet_are_named),
        cmocka_unit_test(central_only_keys_are_unknown),
        cmocka_unit_test(the_fleets_certificate_excludes_that_of_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
