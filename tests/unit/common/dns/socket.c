/* What the DNS's sockets are set to, as the kernel says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <cmocka.h>

#include "common/dns/socket.h"

static void expect_never_cut(const char *where) {
    struct error err = {0};
    struct dns_listen l;
    int how = -1;
    socklen_t len = sizeof(how);
    assert_int_equal(dns_listen_parse(&l, where, &err), 0);
    int fd = dns_socket_open(&l, SOCK_DGRAM, &err);
    if (fd < 0) fail_msg("%s: %s", where, err.msg);
    assert_int_equal(getsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &how, &len), 0);
    assert_int_equal(how, IP_PMTUDISC_PROBE);
    closep(&fd);
}

static void answers_are_not_cut_whatever_a_stranger_says_of_the_path(void **state) {
    (void)state;
    expect_never_cut("127.0.0.1:0");
    expect_never_cut(":0");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(answers_are_not_cut_whatever_a_stranger_says_of_the_path)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
