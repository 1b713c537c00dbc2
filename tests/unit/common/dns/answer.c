/* Answers to messages, well made and not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "common/dns/answer.h"
#include "tests/unit/support/dns_fixture.h"

static struct dns_zone *zone;
static struct dns_view *view;
static struct dns_tally tally;
static struct dns_context context;
static uint8_t in[4096], out[DNS_TCP_MAX];
static size_t in_len, out_len;
static bool tcp;

static int set_up(void **state) {
    (void)state;
    struct error err = {0};
    zone = dns_fixture_usual();
    view = zone ? dns_fixture_view(zone, 0) : NULL;
    context = (struct dns_context){.rate = dns_rate_new(0), .tally = &tally, .now_ms = 5000, .now_s = 100000};
    memset(&tally, 0, sizeof(tally));
    tcp = false;
    return view ? dns_cookies_load(&zone->cookies, NULL, &err) : -1;
}

static int tear_down(void **state) {
    (void)state;
    dns_rate_free(context.rate);
    dns_view_free(view);
    dns_zone_free(zone);
    return 0;
}

/* --- making a message --- */

static void add(const void *data, size_t len) {
    memcpy(in + in_len, data, len);
    in_len += len;
}

static void add16(unsigned v) {
    dns_put16(in + in_len, v);
    in_len += 2;
}

/* The name's letters are kept as they are. */
static void question(const char *name, unsigned type) {
    memset(in, 0, DNS_HEADER);
    in_len = DNS_HEADER;
    dns_put16(in, 0x1234);
    dns_put16(in + 4, 1);
    while (*name) {
        size_t len = strcspn(name, ".");
        in[in_len++] = (uint8_t)len;
        add(name, len);
        name += len + (name[len] == '.');
    }
    in[in_len++] = 0;
    add16(type);
    add16(DNS_CLASS_IN);
}

static size_t opt_at;
static void opt(unsigned size, unsigned version, bool dnssec_ok) {
    dns_put16(in + 10, 1);
    in[in_len++] = 0;
    add16(DNS_OPT);
    add16(size);
    add16(version);
    add16(dnssec_ok ? 0x8000 : 0);
    add16(0);
    opt_at = in_len;
}

static void option(unsigned code, const void *data, size_t len) {
    add16(code);
    add16((unsigned)len);
    add(data, len);
    dns_put16(in + opt_at - 2, (unsigned)(in_len - opt_at));
}

static void subnet(const char *text) {
    struct network net;
    if (!network_parse(&net, text)) fail_msg("%s", text);
    bool four = ip_is_v4(&net.ip);
    unsigned bits = net.bits - (four ? 96 : 0);
    uint8_t data[20] = {0, four ? 1 : 2, (uint8_t)bits, 0};
    memcpy(data + 4, net.ip.bytes + (four ? 12 : 0), (bits + 7) / 8);
    option(DNS_OPTION_ECS, data, 4 + (bits + 7) / 8);
}

/* --- sending, and reading the answer --- */

static void send_from(const char *address) {
    struct ip ip;
    assert_true(ip_parse(&ip, address, strlen(address)));
    out_len = dns_answer(&context, view, &ip, tcp, in, in_len, out, tcp ? DNS_TCP_MAX : DNS_UDP_MAX);
    if (out_len) {
        assert_true(out_len >= DNS_HEADER);
        assert_memory_equal(out, in, 2);
        assert_true(out[2] & 0x80);
    }
}

static void send(void) {
    send_from("10.9.9.9");
}

static unsigned rcode(void) {
    return out[3] & 15;
}
static unsigned answers(void) {
    return dns_get16(out + 6);
}
static bool truncated(void) {
    return out[2] & 2;
}
static bool authoritative(void) {
    return out[2] & 4;
}

/* Where the records begin: behind the question, which is the query's to the letter. */
static size_t records(void) {
    assert_int_equal(dns_get16(out + 4), 1);
    size_t at = DNS_HEADER;
    while (out[at])
        at += 1u + out[at];
    at += 5;
    assert_memory_equal(out + DNS_HEADER, in + DNS_HEADER, at - DNS_HEADER);
    return at;
}

static size_t name_end(size_t at) {
    while (out[at] && out[at] < 0xc0)
        at += 1u + out[at];
    return at + (out[at] ? 2 : 1);
}

/* The records' types as text: "A 10.1.0.1, SOA". */
static const char *said(void) {
    static char text[2000];
    size_t at = records();
    unsigned n = answers() + dns_get16(out + 8) + dns_get16(out + 10);
    text[0] = '\0';
    for (unsigned i = 0; i < n; i++) {
        char *end = text + strlen(text);
        size_t room = sizeof(text) - strlen(text);
        at = name_end(at);
        unsigned type = dns_get16(out + at), len = dns_get16(out + at + 8);
        const uint8_t *rdata = out + at + 10;
        const char *sep = i ? ", " : "";
        if (type == DNS_A)
            snprintf(end, room, "%sA %u.%u.%u.%u", sep, rdata[0], rdata[1], rdata[2], rdata[3]);
        else
            snprintf(end, room, "%s%s", sep,
                     type == DNS_SOA     ? "SOA"
                     : type == DNS_OPT   ? "OPT"
                     : type == DNS_NS    ? "NS"
                     : type == DNS_TXT   ? "TXT"
                     : type == DNS_CNAME ? "CNAME"
                     : type == DNS_HINFO ? "HINFO"
                     : type == DNS_AAAA  ? "AAAA"
                                         : "?");
        at += 10u + len;
        assert_true(at <= out_len);
    }
    assert_int_equal(at, out_len);
    return text;
}

/* An option of the answer's OPT record, which is its last record. */
static const uint8_t *reply_option(unsigned code, size_t *len) {
    size_t at = records();
    unsigned n = answers() + dns_get16(out + 8) + dns_get16(out + 10);
    for (unsigned i = 1; i < n; i++) {
        at = name_end(at);
        at += 10u + dns_get16(out + at + 8);
    }
    assert_int_equal(dns_get16(out + at + 1), DNS_OPT);
    for (at += 11; at < out_len; at += 4u + dns_get16(out + at + 2)) {
        *len = dns_get16(out + at + 2);
        if (dns_get16(out + at) == code) return out + at + 4;
    }
    return NULL;
}

static void expect(const char *name, unsigned type, unsigned wanted_rcode, const char *wanted) {
    question(name, type);
    send();
    if (rcode() != wanted_rcode || strcmp(said(), wanted) != 0 || !authoritative())
        fail_msg("%s %u: %u %s", name, type, rcode(), said());
}

/* --- tests --- */

static void names_have_their_records(void **state) {
    (void)state;
    expect("registry.img.acme.example", DNS_A, DNS_NOERROR, "A 10.0.0.1");
    expect("central.img.acme.example", DNS_A, DNS_NOERROR, "A 10.0.0.1");
    expect("suzhou.img.acme.example", DNS_A, DNS_NOERROR, "A 10.1.3.1");
    expect("empty.img.acme.example", DNS_A, DNS_NOERROR, "A 10.1.3.1"); /* its neighbour's */
    expect("b.shanghai.img.acme.example", DNS_A, DNS_NOERROR, "A 10.1.0.2");
    expect("www.img.acme.example", DNS_A, DNS_NOERROR, "A 10.0.0.9");
    expect("www.img.acme.example", DNS_AAAA, DNS_NOERROR, "AAAA");
    expect("deep.below.img.acme.example", DNS_TXT, DNS_NOERROR, "TXT");
    expect("alias.img.acme.example", DNS_A, DNS_NOERROR, "CNAME");
    expect("alias.img.acme.example", DNS_CNAME, DNS_NOERROR, "CNAME");
    expect("img.acme.example", DNS_SOA, DNS_NOERROR, "SOA");
    expect("ns1.img.acme.example", DNS_A, DNS_NOERROR, "A 10.0.0.1");
    expect("img.acme.example", DNS_NS, DNS_NOERROR, "NS, A 10.0.0.1");
}

static void what_is_not_there_is_told_with_the_soa(void **state) {
    (void)state;
    static const unsigned no_data[] = {DNS_AAAA, DNS_TXT, 43 /* DS */, 48 /* DNSKEY */, DNS_SOA, 65 /* HTTPS */};
    for (size_t i = 0; i < ARRAY_LEN(no_data); i++) {
        expect("registry.img.acme.example", no_data[i], DNS_NOERROR, "SOA");
        expect("shanghai.img.acme.example", no_data[i], DNS_NOERROR, "SOA");
    }
    expect("img.acme.example", DNS_A, DNS_NOERROR, "SOA");
    expect("below.img.acme.example", DNS_A, DNS_NOERROR, "SOA"); /* only on the way to another */
    expect("none.img.acme.example", DNS_A, DNS_NXDOMAIN, "SOA");
    expect("x.registry.img.acme.example", DNS_A, DNS_NXDOMAIN, "SOA");
    expect("a.empty.img.acme.example", DNS_A, DNS_NXDOMAIN, "SOA");
    /* How long "no" may be kept (RFC 2308): the lesser of the SOA's own time and its last number. */
    assert_true(zone->ttl == 15);
    assert_int_equal(dns_get16(out + out_len - 2), 15);
}

static void letters_come_back_as_they_were_sent(void **state) {
    (void)state;
    expect("ReGisTRy.IMG.acme.eXample", DNS_A, DNS_NOERROR, "A 10.0.0.1");
    expect("nOne.img.ACME.example", DNS_A, DNS_NXDOMAIN, "SOA");
}

static void any_is_answered_with_one_record(void **state) {
    (void)state;
    expect("registry.img.acme.example", DNS_ANY, DNS_NOERROR, "HINFO");
    expect("img.acme.example", DNS_ANY, DNS_NOERROR, "HINFO");
    expect("none.img.acme.example", DNS_ANY, DNS_NXDOMAIN, "SOA");
}

static void refuses(unsigned wanted) {
    send();
    assert_true(out_len > 0);
    assert_int_equal(rcode(), wanted);
    assert_int_equal(answers(), 0);
    assert_false(authoritative());
}

static void other_zones_classes_and_operations_are_refused(void **state) {
    (void)state;
    static const char *const names[] = {"example", "acme.example", "ximg.acme.example", "img.acme.example.org", ""};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        question(names[i], DNS_A);
        refuses(DNS_REFUSED);
    }
    question("version.bind", DNS_TXT);
    dns_put16(in + in_len - 2, 3); /* CHAOS */
    refuses(DNS_REFUSED);
    question("registry.img.acme.example", DNS_A);
    dns_put16(in + in_len - 2, 255);
    refuses(DNS_REFUSED);
    question("img.acme.example", DNS_AXFR);
    refuses(DNS_REFUSED);
    for (unsigned opcode = 1; opcode < 16; opcode++) {
        question("img.acme.example", DNS_SOA);
        dns_put16(in + 2, opcode << 11);
        refuses(DNS_NOTIMP);
    }
}

static void a_subnet_is_given_back_as_it_was_with_the_scope(void **state) {
    (void)state;
    static const struct {
        const char *subnet, *answer; /* NULL: any of the site's */
        unsigned scope;
    } cases[] = {
        {"10.1.3.0/24", "A 10.1.3.1, OPT", 24},
        {"10.1.3.77/32", "A 10.1.3.1, OPT", 24},
        {"10.1.200.0/24", NULL, 24},
        {"10.1.0.0/16", NULL, 23},
        {"10.77.0.0/24", "A 10.0.0.1, OPT", 10},
        {"2001:db8:1:2::/56", NULL, 56},
        {"2001:db9::/32", "A 10.0.0.1, OPT", 32},
        {"0.0.0.0/0", "A 10.0.0.1, OPT", 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        question("registry.img.acme.example", DNS_A);
        opt(1232, 0, false);
        subnet(cases[i].subnet);
        send();
        if (cases[i].answer && strcmp(said(), cases[i].answer) != 0) fail_msg("%s: %s", cases[i].subnet, said());
        if (!cases[i].answer) assert_memory_equal(said(), "A 10.1.0.", 9);
        size_t len;
        const uint8_t *back = reply_option(DNS_OPTION_ECS, &len);
        assert_non_null(back);
        assert_int_equal(len, in_len - opt_at - 4);
        if (back[3] != cases[i].scope) fail_msg("%s: scope %u", cases[i].subnet, back[3]);
        assert_memory_equal(back, in + opt_at + 4, 3);
        assert_memory_equal(back + 4, in + opt_at + 8, len - 4);
    }
}

static void a_subnet_is_given_back_only_if_it_was_asked_and_without_scope_where_all_get_the_same(void **state) {
    (void)state;
    size_t len;
    question("registry.img.acme.example", DNS_A);
    opt(1232, 0, false);
    send();
    assert_null(reply_option(DNS_OPTION_ECS, &len));
    static const char *const names[] = {"central.img.acme.example", "none.img.acme.example",
                                        "shanghai.img.acme.example"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        question(names[i], i == 2 ? DNS_AAAA : DNS_A);
        opt(1232, 0, false);
        subnet("10.1.3.0/24");
        send();
        const uint8_t *back = reply_option(DNS_OPTION_ECS, &len);
        assert_non_null(back);
        assert_int_equal(back[3], 0);
    }
}

static void a_resolver_without_subnet_is_answered_by_its_own_address(void **state) {
    (void)state;
    question("registry.img.acme.example", DNS_A);
    send_from("10.1.3.53");
    assert_string_equal(said(), "A 10.1.3.1");
    send_from("2001:db8:1::53");
    assert_memory_equal(said(), "A 10.1.0.", 9);
    send_from("192.0.2.1");
    assert_string_equal(said(), "A 10.0.0.1");
}

static void a_malformed_subnet_is_a_format_error(void **state) {
    (void)state;
    static const struct {
        uint8_t data[24];
        size_t len;
    } cases[] = {
        {{0, 1, 24, 0, 10, 1, 3}, 7 - 1},   /* too few bytes */
        {{0, 1, 24, 0, 10, 1, 3, 0}, 8},    /* too many */
        {{0, 1, 23, 0, 10, 1, 3}, 7},       /* a stray bit */
        {{0, 1, 20, 0, 10, 1, 0x1f}, 7},    /* and more */
        {{0, 1, 33, 0, 10, 1, 3, 0, 0}, 9}, /* a prefix that cannot be */
        {{0, 1, 24, 24, 10, 1, 3}, 7},      /* a scope in a query */
        {{0, 2, 129, 0}, 4 + 17},           /* */
        {{0, 3, 8, 0, 1}, 5},               /* a family that nobody knows */
        {{1, 1, 8, 0, 1}, 5},
        {{0, 0, 8, 0, 1}, 5},
        {{0, 1, 0}, 3},
        {{0}, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        question("registry.img.acme.example", DNS_A);
        opt(1232, 0, false);
        option(DNS_OPTION_ECS, cases[i].data, cases[i].len);
        send();
        if (rcode() != DNS_FORMERR || strcmp(said(), "OPT") != 0) fail_msg("case %zu: %u %s", i, rcode(), said());
    }
    question("registry.img.acme.example", DNS_A);
    opt(1232, 0, false);
    subnet("10.1.3.0/24");
    subnet("10.1.3.0/24");
    refuses(DNS_FORMERR);
}

static void malformed_messages_are_format_errors_or_get_no_answer(void **state) {
    (void)state;
    question("registry.img.acme.example", DNS_A);
    size_t whole = in_len;
    for (in_len = 0; in_len < DNS_HEADER; in_len++) {
        send();
        assert_int_equal(out_len, 0);
    }
    for (in_len = DNS_HEADER; in_len < whole; in_len++)
        refuses(DNS_FORMERR);
    question("registry.img.acme.example", DNS_A);
    in[2] |= 0x80; /* an answer: two servers would answer each other for ever */
    send();
    assert_int_equal(out_len, 0);
    static const struct {
        size_t at;
        uint8_t value;
    } cases[] = {{4, 1},  {5, 0},  {5, 2},  {6, 1},     {7, 1},     {8, 255}, {9, 1},
                 {10, 1}, {11, 1}, {11, 2}, {12, 0xc0}, {12, 0x40}, {12, 63}, {12, 64}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        question("registry.img.acme.example", DNS_A);
        in[cases[i].at] = cases[i].value;
        send();
        if (out_len == 0 || rcode() != DNS_FORMERR) fail_msg("case %zu: %zu bytes, %u", i, out_len, rcode());
    }
    question("registry.img.acme.example", DNS_A);
    in[12] = 0xc0; /* a pointer at itself */
    in[13] = 12;
    refuses(DNS_FORMERR);
    question("registry.img.acme.example", DNS_A);
    in[in_len++] = 0; /* bytes behind the end */
    refuses(DNS_FORMERR);
}

static void a_name_of_more_than_255_bytes_is_a_format_error(void **state) {
    (void)state;
    char name[400] = "";
    for (int i = 0; i < 4; i++)
        strcat(name, "a23456789012345678901234567890123456789012345678901234567890123.");
    name[253] = '\0'; /* 63, 63, 63 and 61 letters: 255 bytes on the wire */
    question(name, DNS_A);
    refuses(DNS_REFUSED);
    strcat(name, "b");
    question(name, DNS_A);
    refuses(DNS_FORMERR);
}

static void malformed_edns_is_a_format_error_and_other_versions_are_told_ours(void **state) {
    (void)state;
    question("registry.img.acme.example", DNS_A);
    opt(1232, 1 /* version */, true);
    send();
    assert_int_equal(rcode(), DNS_BADVERS & 15);
    size_t at = records();
    assert_int_equal(out[at + 5], DNS_BADVERS >> 4);
    assert_int_equal(out[at + 6], 0);
    assert_int_equal(dns_get16(out + at + 7), 0x8000); /* DO is copied */
    for (unsigned wrong = 1; wrong < 20; wrong++) {
        question("registry.img.acme.example", DNS_A);
        opt(1232, 0, false);
        option(65001, "12345678", 8);
        dns_put16(in + opt_at - 2, wrong == 12 ? 13 : wrong);
        refuses(DNS_FORMERR);
    }
    question("registry.img.acme.example", DNS_A);
    opt(1232, 0, false);
    option(65001, "12345678", 8);
    dns_put16(in + opt_at + 2, 9); /* longer than the record */
    refuses(DNS_FORMERR);
    question("registry.img.acme.example", DNS_A);
    opt(1232, 0, false);
    opt(1232, 0, false);
    dns_put16(in + 10, 2);
    refuses(DNS_FORMERR);
    question("registry.img.acme.example", DNS_A);
    opt(1232, 0, true);
    option(65001, "what nobody knows", 17);
    send();
    assert_string_equal(said(), "A 10.0.0.1, OPT");
}

static void cookies_are_given_and_known_again(void **state) {
    (void)state;
    size_t len;
    uint8_t cookie[DNS_COOKIE_WHOLE];
    question("registry.img.acme.example", DNS_A);
    opt(1232, 0, false);
    option(DNS_OPTION_COOKIE, "clientck", 8);
    send();
    const uint8_t *back = reply_option(DNS_OPTION_COOKIE, &len);
    assert_non_null(back);
    assert_int_equal(len, DNS_COOKIE_WHOLE);
    assert_memory_equal(back, "clientck", 8);
    memcpy(cookie, back, sizeof(cookie));
    assert_int_equal(tally.counts[DNS_COUNT_COOKIES], 0);
    for (int i = 0; i < 2; i++) {
        question("registry.img.acme.example", DNS_A);
        opt(1232, 0, false);
        option(DNS_OPTION_COOKIE, cookie, sizeof(cookie));
        send();
        assert_int_equal(tally.counts[DNS_COUNT_COOKIES], i + 1);
        back = reply_option(DNS_OPTION_COOKIE, &len);
        assert_int_equal(memcmp(back, cookie, sizeof(cookie)) == 0, i == 0); /* an old one is renewed */
        context.now_s += 1800;
    }
    for (size_t bad = 0; bad < 45; bad++) {
        static const uint8_t zeros[64];
        question("registry.img.acme.example", DNS_A);
        opt(1232, 0, false);
        option(DNS_OPTION_COOKIE, zeros, bad);
        send();
        assert_int_equal(rcode(), bad == 8 || (bad >= 16 && bad <= 40) ? DNS_NOERROR : DNS_FORMERR);
    }
}

static void a_message_without_question_may_ask_for_a_cookie(void **state) {
    (void)state;
    memset(in, 0, DNS_HEADER);
    in_len = DNS_HEADER;
    opt(1232, 0, false);
    option(DNS_OPTION_COOKIE, "clientck", 8);
    send();
    assert_int_equal(rcode(), DNS_NOERROR);
    assert_int_equal(out_len, DNS_HEADER + 11 + 4 + DNS_COOKIE_WHOLE);
    assert_int_equal(dns_get16(out + 4), 0);
}

static void take_zone(const char *const *sets) {
    struct error err = {0};
    const struct dns_cookies cookies = zone->cookies;
    dns_view_free(view);
    dns_zone_free(zone);
    zone = dns_fixture_zone(sets, &err);
    if (!zone) fail_msg("%s", err.msg);
    zone->cookies = cookies;
    view = dns_fixture_view(zone, 0);
}

/* A zone with so many name servers that its NS answer is long. */
static void take_long_zone(void) {
    static const char *const sets[] = {
        "dns.zone=img.acme.example",
        "dns.central=[10.0.0.1]",
        "dns.answers=2",
        "dns.servers=[{name: a1, addresses: [10.0.0.1, \"2001:db8::1\"]}, {name: a2, addresses: [10.0.0.2, "
        "\"2001:db8::2\"]},"
        "{name: a3, addresses: [10.0.0.3, \"2001:db8::3\"]}, {name: a4, addresses: [10.0.0.4, \"2001:db8::4\"]},"
        "{name: a5, addresses: [10.0.0.5, \"2001:db8::5\"]}, {name: a6, addresses: [10.0.0.6, \"2001:db8::6\"]},"
        "{name: ns.elsewhere.example.}]",
        "dns.records=[{name: big, type: TXT, value: "
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        "aaaaaaaa}]",
        NULL};
    take_zone(sets);
}

static void strangers_get_no_more_than_three_times_what_they_send(void **state) {
    (void)state;
    take_long_zone();
    question("big.img.acme.example", DNS_TXT);
    send();
    assert_true(truncated() && answers() == 0);
    assert_true(out_len <= 3 * in_len);
    opt(1232, 0, false);
    option(DNS_OPTION_COOKIE, "clientck", 8);
    send();
    size_t len;
    uint8_t cookie[DNS_COOKIE_WHOLE];
    memcpy(cookie, reply_option(DNS_OPTION_COOKIE, &len), sizeof(cookie));
    question("big.img.acme.example", DNS_TXT); /* who has shown the address gets all */
    opt(1232, 0, false);
    option(DNS_OPTION_COOKIE, cookie, sizeof(cookie));
    send();
    assert_false(truncated());
    assert_string_equal(said(), "TXT, OPT");
    tcp = true;
    question("big.img.acme.example", DNS_TXT);
    send();
    assert_string_equal(said(), "TXT");
}

static void edges_of_one_address_are_one_record(void **state) {
    (void)state;
    static const char *const sets[] = {"dns.zone=img.acme.example", "dns.central=[10.0.0.1]", "dns.answers=2",
                                       "sites=[{name: near, networks: [10.1.0.0/16], edges: [{name: a, address: "
                                       "10.1.0.1}, {name: b, address: 10.1.0.1}]},"
                                       "{name: far, networks: [10.2.0.0/16], edges: [{name: a, address: "
                                       "10.2.0.1}, {name: b, address: 10.2.0.2}]}]",
                                       NULL};
    take_zone(sets);
    question("registry.img.acme.example", DNS_A);
    send_from("10.1.9.9");
    assert_int_equal(answers(), 1);
    assert_string_equal(said(), "A 10.1.0.1");
    question("registry.img.acme.example", DNS_A);
    send_from("10.2.9.9");
    assert_int_equal(answers(), 2);
}

/* Whether the answer holds these bytes. */
static bool holds(const char *text) {
    return memmem(out, out_len, text, strlen(text)) != NULL;
}

static void a_name_below_whoami_says_who_asks(void **state) {
    (void)state;
    size_t len;
    question("0123456789abcdef.b._whoami.img.acme.example", DNS_TXT);
    send_from("10.1.3.53");
    assert_string_equal(said(), "TXT");
    assert_true(authoritative() && holds("\22resolver=10.1.3.53"));
    context.now_ms = 0x12345;
    question("a._whoami.img.acme.example", DNS_A);
    send();
    assert_string_equal(said(), "A 198.19.35.69");
    question("0123456789abcdef._whoami.img.acme.example", DNS_TXT);
    opt(1232, 0, false);
    option(DNS_OPTION_ECS, "\0\1\20\0\12\1", 6);
    send_from("2001:db8::53");
    assert_string_equal(said(), "TXT, OPT");
    assert_true(holds("resolver=2001:db8::53") && holds("\22subnet=10.1.0.0/16"));
    assert_memory_equal(reply_option(DNS_OPTION_ECS, &len), "\0\1\20\20\12\1", 6); /* for that subnet alone */
    static const struct {
        const char *name;
        unsigned type, rcode;
    } others[] = {{"a._whoami.img.acme.example", DNS_AAAA, DNS_NOERROR},
                  {"_whoami.img.acme.example", DNS_TXT, DNS_NOERROR},
                  {"a_whoami.img.acme.example", DNS_TXT, DNS_NXDOMAIN},
                  {"_whoami.a.img.acme.example", DNS_TXT, DNS_NXDOMAIN},
                  {"whoami.img.acme.example", DNS_TXT, DNS_NXDOMAIN}};
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        question(others[i].name, others[i].type);
        send();
        assert_int_equal(rcode(), others[i].rcode);
        assert_string_equal(said(), "SOA");
    }
}

static void what_has_no_room_is_left_out_or_truncated(void **state) {
    (void)state;
    take_long_zone();
    question("img.acme.example", DNS_NS);
    send();
    assert_true(truncated()); /* 3 times 34 bytes do not hold seven servers */
    tcp = true;
    send();
    assert_int_equal(answers(), 7);
    assert_int_equal(dns_get16(out + 10), 12);
    (void)said();
}

static void no_message_of_any_kind_breaks_it_or_gets_more_than_its_due(void **state) {
    (void)state;
    uint64_t seed = 1;
    for (int i = 0; i < 60000; i++) {
        question(i % 2 ? "registry.img.acme.example" : "img.acme.example", i % 3 ? DNS_A : DNS_NS);
        opt(i % 5 ? 1232 : 0, 0, i % 7 == 0);
        subnet("10.1.3.0/24");
        option(DNS_OPTION_COOKIE, "clientck", 8);
        for (uint64_t n = (seed = dns_mix(seed + 0x9e3779b97f4a7c15ULL)) % 4; n-- > 0;) {
            seed = dns_mix(seed + 0x9e3779b97f4a7c15ULL);
            in[seed % in_len] = (uint8_t)(seed >> 32);
        }
        if (seed % 4 == 0) in_len = (seed >> 8) % (in_len + 1);
        out_len = 0;
        struct ip ip = {.bytes = {1}};
        out_len = dns_answer(&context, view, &ip, false, in, in_len, out, DNS_UDP_MAX);
        assert_true(out_len <= 3 * in_len && out_len <= DNS_UDP_MAX);
        if (out_len && dns_get16(out + 4)) (void)said();
    }
}

static void over_the_rate_every_second_query_is_told_to_use_tcp(void **state) {
    (void)state;
    dns_rate_free(context.rate);
    context.rate = dns_rate_new(10);
    unsigned full = 0, slipped = 0, dropped = 0;
    for (int i = 0; i < 40; i++) {
        question("registry.img.acme.example", DNS_A);
        send_from(i % 2 ? "10.1.3.4" : "10.1.3.5"); /* one network */
        full += out_len && !truncated();
        slipped += out_len && truncated();
        dropped += out_len == 0;
    }
    assert_int_equal(full, 10);
    assert_int_equal(slipped, 15);
    assert_int_equal(dropped, 15);
    send_from("10.1.4.4");
    assert_true(out_len && !truncated());
    tcp = true;
    send_from("10.1.3.4");
    assert_true(out_len && !truncated());
    tcp = false;
    context.now_ms += 500;
    for (int i = 0; i < 5; i++) {
        send_from("10.1.3.4");
        assert_true(out_len && !truncated());
    }
}

static void queries_are_counted_by_site_and_by_who_tells_no_subnet(void **state) {
    (void)state;
    question("registry.img.acme.example", DNS_A);
    send_from("10.1.3.53");
    send_from("10.2.0.53");
    send_from("192.0.2.53");
    assert_int_equal(tally.sites[zone->sites[1].slot][DNS_FROM_SITE], 1);
    uint64_t near = 0;
    for (size_t i = 0; i < DNS_SLOTS; i++)
        near += tally.sites[i][DNS_FROM_NEIGHBOUR];
    assert_int_equal(near, 1);
    assert_int_equal(tally.sites[DNS_SLOT_ELSEWHERE][DNS_FROM_CENTRAL], 1);
    assert_int_equal(tally.counts[DNS_COUNT_CHOSEN], 3);
    assert_int_equal(tally.counts[DNS_COUNT_SUBNETS], 0);
    unsigned asked = 0;
    for (size_t i = 0; i < DNS_ASKERS; i++)
        asked += tally.without_subnet[i].n;
    assert_true(asked >= 1 && asked <= 3);
}

#define EACH_ANEW(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
int main(void) {
    const struct CMUnitTest tests[] = {
        EACH_ANEW(names_have_their_records),
        EACH_ANEW(what_is_not_there_is_told_with_the_soa),
        EACH_ANEW(letters_come_back_as_they_were_sent),
        EACH_ANEW(any_is_answered_with_one_record),
        EACH_ANEW(other_zones_classes_and_operations_are_refused),
        EACH_ANEW(a_subnet_is_given_back_as_it_was_with_the_scope),
        EACH_ANEW(a_subnet_is_given_back_only_if_it_was_asked_and_without_scope_where_all_get_the_same),
        EACH_ANEW(a_resolver_without_subnet_is_answered_by_its_own_address),
        EACH_ANEW(a_malformed_subnet_is_a_format_error),
        EACH_ANEW(malformed_messages_are_format_errors_or_get_no_answer),
        EACH_ANEW(a_name_of_more_than_255_bytes_is_a_format_error),
        EACH_ANEW(malformed_edns_is_a_format_error_and_other_versions_are_told_ours),
        EACH_ANEW(cookies_are_given_and_known_again),
        EACH_ANEW(a_message_without_question_may_ask_for_a_cookie),
        EACH_ANEW(strangers_get_no_more_than_three_times_what_they_send),
        EACH_ANEW(edges_of_one_address_are_one_record),
        EACH_ANEW(a_name_below_whoami_says_who_asks),
        EACH_ANEW(what_has_no_room_is_left_out_or_truncated),
        EACH_ANEW(no_message_of_any_kind_breaks_it_or_gets_more_than_its_due),
        EACH_ANEW(over_the_rate_every_second_query_is_told_to_use_tcp),
        EACH_ANEW(queries_are_counted_by_site_and_by_who_tells_no_subnet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
