/* Which names in Host a node's own ports answer for. */
#include "common/access/own_names.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static struct own_names own;

static int set_up(void **state) {
    (void)state;
    static char *registry[] = {(char *)"registry.acme.example:443"}, *admin[] = {(char *)"Metrics.acme.example"};
    struct node_config node = {.address = (char *)"edge.acme.example",
                               .registry_names = registry,
                               .n_registry_names = 1,
                               .admin_names = admin,
                               .n_admin_names = 1};
    own_names_init(&own, &node);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    own_names_fini(&own);
    return 0;
}

static void addresses_and_the_nodes_names_are_answered(void **state) {
    (void)state;
    char machine[256] = "";
    assert_int_equal(gethostname(machine, sizeof(machine) - 1), 0);
    const char *const ours[] = {"127.0.0.1",
                                "127.0.0.1:5002",
                                "[::1]:5002",
                                "10.1.0.5",
                                "localhost",
                                "LocalHost:5002",
                                "localhost.:5002",
                                "edge.acme.example:5052",
                                "registry.acme.example",
                                "metrics.acme.example:9",
                                machine};
    for (size_t i = 0; i < ARRAY_LEN(ours); i++)
        if (!own_names_have(&own, ours[i])) fail_msg("%s", ours[i]);
    assert_true(own_names_have(&own, NULL));
}

static void other_names_are_refused(void **state) {
    (void)state;
    const char *const others[] = {"evil.example",
                                  "evil.example:5002",
                                  "localhost.evil.example",
                                  "127.0.0.1.evil.example",
                                  "edge.acme.example.evil.example",
                                  "127.1",
                                  "0x7f.1",
                                  "",
                                  ":5002"};
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        if (own_names_have(&own, others[i])) fail_msg("%s", others[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_and_the_nodes_names_are_answered),
        cmocka_unit_test(other_names_are_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
