/* The lines by which each kind of resolver finds the zone. */
#include "common/cli/client_dns.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

static const struct client_dns usual = {.zone = "img.acme.example",
                                        .servers = {"10.0.0.1", "2001:db8::1"},
                                        .n_servers = 2,
                                        .port = 5353,
                                        .node = "10.1.0.5",
                                        .ttl_s = 15};

static void each_kind_names_the_zone_and_all_servers_with_their_port(void **state) {
    (void)state;
    static const struct {
        const char *kind, *lines[4];
    } cases[] = {
        {"unbound",
         {"stub-zone:\n    name: \"img.acme.example\"\n    stub-addr: 10.0.0.1@5353\n    stub-addr: 2001:db8::1@5353\n",
          "    send-client-subnet: 10.0.0.1\n", "domain-insecure: \"img.acme.example\"", "serve-expired: no"}},
        {"dnsmasq",
         {"server=/img.acme.example/10.0.0.1#5353\nserver=/img.acme.example/2001:db8::1#5353\n", "add-subnet=24,56\n",
          "rebind-domain-ok=/img.acme.example/"}},
        {"bind",
         {"zone \"img.acme.example\" {\n    type forward;\n    forward only;\n    forwarders { 10.0.0.1 port 5353; "
          "2001:db8::1 port 5353; };\n};\n",
          "validate-except { \"img.acme.example\"; };"}},
        {"coredns",
         {"img.acme.example:53 {\n    errors\n    forward . 10.0.0.1:5353 [2001:db8::1]:5353\n    cache 15 "}},
        {"systemd-resolved", {"[Resolve]\nDNS=10.0.0.1:5353 [2001:db8::1]:5353\n", "Domains=~img.acme.example\n"}},
        {"hosts", {"\n10.1.0.5 registry.img.acme.example\n"}},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf out;
        struct error err = {0};
        buf_init(&out, 0);
        assert_int_equal(client_dns_lines(cases[i].kind, &usual, &out, &err), 0);
        for (size_t j = 0; j < ARRAY_LEN(cases[i].lines) && cases[i].lines[j]; j++)
            if (!strstr(out.data, cases[i].lines[j]))
                fail_msg("%s: not \"%s\" in\n%s", cases[i].kind, cases[i].lines[j], out.data);
        buf_fini(&out);
    }
}

static void on_port_53_bind_gets_a_stub_and_windows_a_forwarder(void **state) {
    (void)state;
    struct client_dns dns = usual;
    struct error err = {0};
    struct buf out;
    dns.port = 53;
    buf_init(&out, 0);
    assert_int_equal(client_dns_lines("bind", &dns, &out, &err), 0);
    assert_non_null(strstr(out.data, "type static-stub;\n    server-addresses { 10.0.0.1; 2001:db8::1; };"));
    buf_clear(&out);
    assert_int_equal(client_dns_lines("windows", &dns, &out, &err), 0);
    assert_non_null(strstr(out.data, "-Name \"img.acme.example\" -MasterServers 10.0.0.1,2001:db8::1\n"));
    buf_fini(&out);
}

static void what_cannot_be_is_refused_with_what_to_try(void **state) {
    (void)state;
    struct error err = {0};
    struct buf out;
    buf_init(&out, 0);
    assert_int_equal(client_dns_lines("windows", &usual, &out, &err), ERR_UNSUPPORTED);
    assert_non_null(strstr(err.msg, "port 53 only, and the zone's servers listen on 5353"));
    assert_int_equal(client_dns_lines("powerdns", &usual, &out, &err), ERR_NOT_FOUND);
    assert_non_null(strstr(err.hint, "unbound"));
    assert_int_equal(out.len, 0);
    buf_fini(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_kind_names_the_zone_and_all_servers_with_their_port),
        cmocka_unit_test(on_port_53_bind_gets_a_stub_and_windows_a_forwarder),
        cmocka_unit_test(what_cannot_be_is_refused_with_what_to_try),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
