/* Central's configuration: what it accepts, what it makes of it, and what it says when it refuses. */
#include "central/config/central_config.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/core/file.h"

static char dir[64], file[96];
static struct error err;

/* What is told one by one. */
struct said {
    size_t n;
    int codes[16];
    char msgs[16][sizeof(err.msg)];
};

static void hear(const struct error *e, void *arg) {
    struct said *said = arg;
    assert_true(said->n < ARRAY_LEN(said->msgs));
    said->codes[said->n] = e->code;
    memcpy(said->msgs[said->n++], e->msg, sizeof(e->msg));
}

static int load(const char *yaml, const char *const *sets, size_t n_sets, struct central_config **c) {
    struct node_config *node = NULL;
    err = (struct error){0};
    struct config_source src = {.default_file = "/nonexistent/central.yaml", .sets = sets, .n_sets = n_sets};
    if (yaml) {
        struct error e = {0};
        assert_int_equal(file_write_atomic(file, 0600, yaml, strlen(yaml), &e), 0);
        src.file = file;
    }
    int r = central_config_load(&src, &node, &err);
    *c = (struct central_config *)node;
    return r;
}

static void refuses(const char *yaml, const char *set, const char *place, const char *words) {
    struct central_config *c;
    if (load(yaml, &set, set ? 1 : 0, &c) >= 0) fail_msg("accepted: %s %s", yaml, set ? set : "");
    char start[200] = "";
    if (place) snprintf(start, sizeof start, set ? "--set %s: " : "%s:%s: ", set ? set : file, place);
    if (strncmp(err.msg, start, strlen(start))) fail_msg("place \"%s\" not in: %s", start, err.msg);
    if (!strstr(err.msg, words)) fail_msg("\"%s\" not in: %s", words, err.msg);
}

static void accepts(const char *yaml, const char *set, struct central_config **c) {
    if (load(yaml, &set, set ? 1 : 0, c) < 0) fail_msg("refused: %s", err.msg);
}

static void defaults_are_the_six_public_registries(void **state) {
    (void)state;
    static const char *const names[] = {"docker.io",       "ghcr.io", "quay.io",
                                        "registry.k8s.io", "gcr.io",  "mcr.microsoft.com"};
    struct central_config *c;
    accepts(NULL, NULL, &c);
    assert_int_equal(c->n_upstreams, ARRAY_LEN(names));
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        assert_string_equal(c->upstreams[i].name, names[i]);
        assert_int_equal(c->upstreams[i].n_endpoints, 1);
        assert_int_equal(c->upstreams[i].fresh_for_ms, 60000);
        assert_int_equal(c->upstreams[i].max_parallel, 16);
    }
    assert_string_equal(c->upstreams[0].endpoints[0], "https://registry-1.docker.io");
    assert_string_equal(c->upstreams[5].endpoints[0], "https://mcr.microsoft.com");
    assert_string_equal(c->default_upstream, "docker.io");
    assert_int_equal(c->n_hosted, 1);
    assert_string_equal(c->hosted[0], "sample/**");
    assert_string_equal(c->node.registry_listen, ":5000");
    assert_string_equal(c->node.node_listen, ":5001");
    assert_string_equal(c->node.admin_listen, "127.0.0.1:5002");
    assert_int_equal(c->node.stale_for_ms, 7 * 86400000LL);
    assert_int_equal(c->node.drain_ms, 30000);
    assert_int_equal(c->node.log_level, LOG_LEVEL_INFO);
    assert_true(c->node.access_log);
    assert_null(c->node.config_file);
    assert_true(c->node.data[0] == '/');
    central_config_free(&c->node);
}

static void the_designs_example_is_accepted_and_unbuilt_keys_are_named(void **state) {
    (void)state;
    static const char yaml[] = "upstreams:\n"
                               "  - name: docker.io\n"
                               "    endpoints: [https://registry-1.docker.io]     # several: ranked\n"
                               "    username: acme\n"
                               "    password_file: /etc/entrepot/docker.io.password\n"
                               "    fresh_for: 60s\n"
                               "default_upstream: docker.io\n"
                               "hosted: [ \"acme/**\" ]\n"
                               "mirrors:\n"
                               "  - repository: docker.io/library/nginx\n"
                               "    tags: [ \"1.*\", stable ]\n"
                               "    platforms: [ linux/amd64 ]\n"
                               "    every: 1h\n"
                               "sites:\n"
                               "  - name: shanghai\n"
                               "    networks: [ 10.1.0.0/16, \"2001:db8:1::/48\" ]\n"
                               "    neighbours: [ suzhou ]\n"
                               "dns: { zone: img.acme.example, ttl: 15s }\n"
                               "registry: { names: [ registry.img.acme.example ] }\n"
                               "store: { limit: 500GiB }\n";
    struct central_config *c;
    accepts(yaml, NULL, &c);
    assert_int_equal(c->n_upstreams, 1);
    assert_string_equal(c->upstreams[0].password_file, "/etc/entrepot/docker.io.password");
    assert_int_equal(c->node.store_limit, 500 * GiB);
    assert_string_equal(c->node.registry_names[0], "registry.img.acme.example");
    assert_string_equal(c->node.config_file, file);
    assert_int_equal(c->node.n_no_effect, 1);
    assert_string_equal(c->node.no_effect[0], "mirrors");
    assert_string_equal(c->sites[0].networks[1], "2001:db8:1::/48");
    assert_string_equal(c->sites[0].neighbours[0], "suzhou");
    assert_string_equal(c->dns.zone, "img.acme.example");
    assert_string_equal(c->dns.listen, ":5353");
    assert_int_equal(c->dns.ttl_ms, 15000);
    assert_int_equal(c->registry_port, 5000);
    struct said said = {0};
    assert_int_equal(config_check_files(&c->node, hear, &said), 1);
    assert_int_equal(said.n, 1);
    assert_int_equal(said.codes[0], -ENOENT);
    assert_non_null(strstr(said.msgs[0], "password_file"));
    central_config_free(&c->node);
}

static void every_error_of_a_file_is_told(void **state) {
    (void)state;
    static const char yaml[] = "upstreams:\n"
                               "  - nmae: docker.io\n"
                               "  - { name: b.test, endpoints: [https://b, ftp://b, [x]], fresh_for: soon }\n"
                               "  - 7\n"
                               "store: [1]\n"
                               "registry: { listen: 5000, bogus: 1 }\n"
                               "hosted: [UPPER, \"ok/**\"]\n";
    static const char *const words[] = {
        "upstreams[0].nmae",
        "upstreams[0].name: must be given",
        ":3:44: upstreams[1].endpoints",
        ":3:53: upstreams[1].endpoints",
        "upstreams[1].fresh_for",
        ":4:5: upstreams[2]: must be a mapping",
        "hosted",
        "registry.bogus",
        "registry.listen",
        ":5:8: store: must be a mapping",
    };
    struct error e = {0};
    assert_int_equal(file_write_atomic(file, 0600, yaml, strlen(yaml), &e), 0);
    struct said said = {0};
    const char *const sets[] = {"log.level=loud", "nothing=1"};
    struct config_source src = {.file = file, .sets = sets, .n_sets = 2, .each = hear, .arg = &said};
    struct node_config *node = NULL;
    assert_int_equal(central_config_load(&src, &node, &e), ERR_INVALID);
    assert_null(node);
    assert_int_equal(said.n, ARRAY_LEN(words) + 2);
    assert_non_null(strstr(said.msgs[0], "--set nothing=1: "));
    assert_string_equal(e.msg, said.msgs[0]);
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (!strstr(said.msgs[i + 1], words[i])) fail_msg("\"%s\" not in: %s", words[i], said.msgs[i + 1]);
    }
    assert_non_null(strstr(said.msgs[said.n - 1], "log.level"));
}

static void every_error_between_keys_is_told(void **state) {
    (void)state;
    static const char yaml[] =
        "upstreams: [{name: a.test, username: x}, {name: A.test}, {name: b.test, password_file: /x}]\n"
        "registry: { cert_file: /x }\n";
    static const char *const words[] = {"upstreams[0].username", "upstreams[1].name", "upstreams[2].password_file",
                                        "default_upstream", "registry.cert_file"};
    struct error e = {0};
    assert_int_equal(file_write_atomic(file, 0600, yaml, strlen(yaml), &e), 0);
    struct said said = {0};
    struct config_source src = {.file = file, .each = hear, .arg = &said};
    struct node_config *node = NULL;
    assert_int_equal(central_config_load(&src, &node, &e), ERR_INVALID);
    assert_int_equal(said.n, ARRAY_LEN(words));
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (!strstr(said.msgs[i], words[i])) fail_msg("\"%s\" not in: %s", words[i], said.msgs[i]);
    }
}

static void unbuilt_keys_are_checked_all_the_same(void **state) {
    (void)state;
    refuses("dns: { zones: a }\n", NULL, "1:8", "did you mean \"dns.zone\"");
    refuses("mirrors: [ { repository: a, every: 1x } ]\n", NULL, "1:36", "mirrors[0].every");
    refuses("sites: [ {} ]\n", NULL, "1:10", "sites[0].name: must be given");
}

static void errors_name_file_line_and_the_nearest_key(void **state) {
    (void)state;
    refuses("store:\n  limt: 5GiB\n", NULL, "2:3", "unknown key \"store.limt\"; did you mean \"store.limit\"?");
    refuses("upstreems: []\n", NULL, "1:1", "did you mean \"upstreams\"?");
    refuses("upstreams:\n- name: a.b\n  fresh_fro: 5s\n", NULL, "3:3", "did you mean \"upstreams[0].fresh_for\"?");
    refuses("store:\n  limit: 5GB\n", NULL, "2:10", "store.limit: \"5GB\" is not a size");
    refuses("drain: 5\n", NULL, "1:8", "drain: \"5\" is not a time");
    refuses("store: 5\n", NULL, "1:8", "store: must be a mapping, not a single value");
    refuses("hosted: acme/**\n", NULL, "1:9", "hosted: must be a list of strings");
    refuses("log: { level: loud }\n", NULL, "1:15", "log.level: \"loud\" is not one of error, warn, info, debug");
    refuses("threads: { serving: 257 }\n", NULL, "1:21", "threads.serving: 257 is out of range");
    refuses("- a\n", NULL, "1:1", "must be a mapping");
}

static void set_errors_name_the_argument(void **state) {
    (void)state;
    refuses(NULL, "store.limt=5GiB", "", "did you mean \"store.limit\"?");
    refuses(NULL, "store.limit=5GB", "", "store.limit: \"5GB\" is not a size");
    refuses(NULL, "store", "", "KEY=VALUE");
    refuses(NULL, "=5", "", "KEY=VALUE");
    refuses(NULL, "drain.x=5", "", "no keys below");
    refuses(NULL, "upstreams[9].fresh_for=5s", "", "no item \"9\"");
    refuses(NULL, "upstreams[nope.io].fresh_for=5s", "", "no item \"nope.io\"");
    refuses(NULL, "upstreams[docker.io=5s", "", "KEY=VALUE");
    refuses(NULL, "store..limit=5", "", "empty step");
    refuses(NULL, "upstreams=[{name: a.b", "", "not valid YAML");
}

static void set_reaches_every_kind_of_key(void **state) {
    (void)state;
    static const char *const sets[] = {
        "upstreams=[{name: docker.io, endpoints: [\"http://127.0.0.1:5999\"]}, {name: \"localhost:5998\"}]",
        "upstreams.0.fresh_for=1s",
        "upstreams[localhost:5998].fresh_for=2s",
        "upstreams[1].endpoints=[http://127.0.0.1:5998/]",
        "registry.listen=[::1]:0",
        "hosted=[a/**, b]",
        "hosted[1]=c/*",
        "log.access=off",
        "log.level=debug",
        "store.limit=1MiB",
        "store.limit=2MiB",
        "data=/tmp/somewhere else",
    };
    struct central_config *c;
    if (load("registry: { listen: \":1\" }\n", sets, ARRAY_LEN(sets), &c) < 0) fail_msg("%s", err.msg);
    assert_int_equal(c->n_upstreams, 2);
    assert_string_equal(c->upstreams[0].endpoints[0], "http://127.0.0.1:5999");
    assert_int_equal(c->upstreams[0].fresh_for_ms, 1000);
    assert_int_equal(c->upstreams[1].fresh_for_ms, 2000);
    assert_string_equal(c->upstreams[1].endpoints[0], "http://127.0.0.1:5998");
    assert_string_equal(c->node.registry_listen, "[::1]:0");
    assert_string_equal(c->hosted[1], "c/*");
    assert_false(c->node.access_log);
    assert_int_equal(c->node.log_level, LOG_LEVEL_DEBUG);
    assert_int_equal(c->node.store_limit, 2 * MiB);
    assert_string_equal(c->node.data, "/tmp/somewhere else");
    central_config_free(&c->node);
}

static void set_replaces_an_item_of_a_list(void **state) {
    (void)state;
    struct central_config *c;
    accepts(NULL, "upstreams[docker.io]={name: docker.io, fresh_for: 5m}", &c);
    assert_int_equal(c->n_upstreams, 6);
    assert_int_equal(c->upstreams[0].fresh_for_ms, 300000);
    central_config_free(&c->node);
    refuses(NULL, "upstreams[docker.io]=3", NULL, "must be a mapping");
}

static void set_steps_into_the_default_list(void **state) {
    (void)state;
    struct central_config *c;
    accepts(NULL, "upstreams[quay.io].fresh_for=5m", &c);
    assert_int_equal(c->n_upstreams, 6);
    assert_int_equal(c->upstreams[2].fresh_for_ms, 300000);
    assert_int_equal(c->upstreams[0].fresh_for_ms, 60000);
    central_config_free(&c->node);
}

static void upstreams_are_hosts_named_once(void **state) {
    (void)state;
    refuses("upstreams: [ { name: docker.io }, { name: index.docker.io } ]\n", NULL, "1:43", "configured twice");
    refuses("upstreams: [ { name: a.b }, { name: A.b } ]\n", NULL, NULL, "configured twice");
    refuses("upstreams: [ { name: \"https://a.b\" } ]\n", NULL, NULL, "is not a host name");
    refuses("upstreams: [ { name: a/b } ]\n", NULL, NULL, "is not a host name");
    refuses("upstreams: [ { endpoints: [] } ]\n", NULL, "1:14", "upstreams[0].name: must be given");
    refuses("upstreams: [ docker.io ]\n", NULL, "1:14", "must be a mapping");
}

static void endpoints_are_plain_urls(void **state) {
    (void)state;
    static const char *const bad[][2] = {
        {"ftp://a.b", "must begin with"},    {"https://u:p@a.b", "credentials"}, {"https://a.b?x=1", "query"},
        {"https://a.b/#x", "query"},         {"https://", "not a host name"},    {"https://a b", "does not belong"},
        {"https://a.b:99999", "not a host"}, {"https://[::1", "not a host"},     {"a.b", "must begin with"},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        char yaml[200];
        snprintf(yaml, sizeof yaml, "upstreams: [ { name: docker.io, endpoints: [ \"%s\" ] } ]\n", bad[i][0]);
        refuses(yaml, NULL, NULL, bad[i][1]);
    }
    char many[600] = "upstreams: [ { name: docker.io, endpoints: [ http://h1";
    for (int i = 2; i <= UPSTREAM_ENDPOINTS_MAX + 1; i++)
        snprintf(many + strlen(many), sizeof many - strlen(many), ", http://h%d", i);
    strcat(many, " ] } ]\n");
    refuses(many, NULL, NULL, "at most 16");
}

static void user_and_password_file_go_together(void **state) {
    (void)state;
    refuses("upstreams: [ { name: docker.io, username: x } ]\n", NULL, "1:43", "needs password_file as well");
    refuses("upstreams: [ { name: docker.io, password_file: /x } ]\n", NULL, NULL, "needs username as well");
    refuses("upstreams: [ { name: docker.io, password: x } ]\n", NULL, NULL, "unknown key");
    refuses("upstreams: [ { name: docker.io, ca_file: x } ]\n", NULL, NULL, "absolute path");
    refuses("registry: { cert_file: /x }\n", NULL, NULL, "needs registry.key_file as well");
}

static void default_upstream_must_be_configured(void **state) {
    (void)state;
    struct central_config *c;
    refuses("upstreams: [ { name: quay.io } ]\n", NULL, NULL, "\"docker.io\" is not among upstreams");
    assert_non_null(strstr(err.hint, "quay.io"));
    refuses("upstreams: { docker.io: x }\n", NULL, NULL, "must be a list of mappings, not a mapping");
    assert_string_equal(err.hint, "for example upstreams: [{name: docker.io, endpoints: "
                                  "[\"https://registry-1.docker.io\"]}]");
    refuses("default_upstream: nope.io\n", NULL, "1:19", "not among upstreams");
    accepts("default_upstream: index.docker.io\n", NULL, &c);
    assert_string_equal(c->default_upstream, "docker.io");
    central_config_free(&c->node);
    accepts("default_upstream: \"\"\nupstreams: []\n", NULL, &c);
    assert_null(c->default_upstream);
    assert_int_equal(c->n_upstreams, 0);
    central_config_free(&c->node);
}

static void fleet_addresses_have_a_port(void **state) {
    (void)state;
    struct central_config *c;
    accepts("fleet: {addresses: [\"central.acme.example:5001\", \"[2001:db8::5]:5001\"]}\n", NULL, &c);
    assert_int_equal(c->n_fleet_addresses, 2);
    central_config_free(&c->node);
    refuses("fleet: {addresses: [central.acme.example]}\n", NULL, "1:21", "has no port");
    refuses("fleet: {certificate: 1s}\n", NULL, "1:22", "fleet.certificate");
}

static void hosted_patterns_are_patterns(void **state) {
    (void)state;
    struct central_config *c;
    accepts("hosted: [ a, a/b, \"a/**\", \"**\", \"a/*/b\", \"te*m/**/x\" ]\n", NULL, &c);
    central_config_free(&c->node);
    static const char *const bad[] = {"", "/a", "a/", "a//b", "a**", "A/b", "a/**b"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        char yaml[64];
        snprintf(yaml, sizeof yaml, "hosted: [ \"%s\" ]\n", bad[i]);
        refuses(yaml, NULL, "1:11", "hosted");
    }
}

static void a_missing_file_is_an_error_only_when_asked_for(void **state) {
    (void)state;
    struct node_config *node;
    struct config_source src = {.file = "/nonexistent/x.yaml"};
    assert_int_equal(central_config_load(&src, &node, &err), -ENOENT);
    assert_non_null(strstr(err.msg, "/nonexistent/x.yaml"));
    assert_int_equal(file_write_atomic(file, 0600, "drain: 5s\n", 10, &err), 0);
    src = (struct config_source){.default_file = file};
    assert_int_equal(central_config_load(&src, &node, &err), 0);
    assert_string_equal(node->config_file, file);
    assert_int_equal(node->drain_ms, 5000);
    central_config_free(node);
}

static void a_copy_has_everything_of_its_own(void **state) {
    (void)state;
    static const char *const sets[] = {
        "dns.zone=z.example", "dns.central=[10.0.0.1]", "hosted=[a/**, b/**]",
        "sites=[{name: s, networks: [10.1.0.0/16], edges: [{name: e, address: 10.1.0.1}]}]"};
    struct config_source src = {.sets = sets, .n_sets = ARRAY_LEN(sets), .default_file = "/nonexistent"};
    struct node_config *node;
    assert_int_equal(central_config_load(&src, &node, &err), 0);
    struct central_config *copy = central_config_copy((const struct central_config *)(const void *)node);
    central_config_free(node);
    assert_string_equal(copy->dns.zone, "z.example");
    assert_string_equal(copy->hosted[1], "b/**");
    assert_int_equal(copy->n_sites, 1);
    assert_string_equal(copy->sites[0].networks[0], "10.1.0.0/16");
    assert_string_equal(copy->sites[0].edges[0].address, "10.1.0.1");
    assert_null(copy->sites[0].edges[0].address6);
    assert_string_equal(copy->upstreams[0].name, "docker.io");
    assert_null(copy->node.config_file);
    central_config_free(&copy->node);
}

static void reports_come_often_enough_for_the_dns(void **state) {
    (void)state;
    static const char *const sets[] = {"dns.zone=z.example", "dns.central=[10.0.0.1]", "fleet.heartbeat=2s"};
    struct config_source src = {.sets = sets, .n_sets = ARRAY_LEN(sets), .default_file = "/nonexistent"};
    struct node_config *node;
    assert_int_equal(central_config_load(&src, &node, &err), ERR_INVALID);
    assert_non_null(strstr(err.msg, "more than half of dns.silent_after"));
}

static int setup(void **state) {
    (void)state;
    const char *tmp = getenv("TMPDIR");
    snprintf(dir, sizeof dir, "%s/entrepot-XXXXXX", tmp && strlen(tmp) < 40 ? tmp : "/tmp");
    if (!mkdtemp(dir)) return -1;
    snprintf(file, sizeof file, "%s/c.yaml", dir);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    unlink(file);
    return rmdir(dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_error_of_a_file_is_told),
        cmocka_unit_test(every_error_between_keys_is_told),
        cmocka_unit_test(defaults_are_the_six_public_registries),
        cmocka_unit_test(the_designs_example_is_accepted_and_unbuilt_keys_are_named),
        cmocka_unit_test(unbuilt_keys_are_checked_all_the_same),
        cmocka_unit_test(errors_name_file_line_and_the_nearest_key),
        cmocka_unit_test(set_errors_name_the_argument),
        cmocka_unit_test(set_reaches_every_kind_of_key),
        cmocka_unit_test(set_replaces_an_item_of_a_list),
        cmocka_unit_test(set_steps_into_the_default_list),
        cmocka_unit_test(upstreams_are_hosts_named_once),
        cmocka_unit_test(endpoints_are_plain_urls),
        cmocka_unit_test(user_and_password_file_go_together),
        cmocka_unit_test(default_upstream_must_be_configured),
        cmocka_unit_test(fleet_addresses_have_a_port),
        cmocka_unit_test(hosted_patterns_are_patterns),
        cmocka_unit_test(a_copy_has_everything_of_its_own),
        cmocka_unit_test(reports_come_often_enough_for_the_dns),
        cmocka_unit_test(a_missing_file_is_an_error_only_when_asked_for),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
