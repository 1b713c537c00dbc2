/* A fleet's authority and roster in a folder of their own, with a clock of their own. */
#ifndef ENTREPOT_TESTS_FLEET_H
#define ENTREPOT_TESTS_FLEET_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "central/fleet/ca.h"
#include "central/fleet/roster.h"
#include "common/core/clock.h"
#include "common/core/log.h"
#include "common/identity/cert.h"
#include "tests/unit/support/folder.h"

#define DAY 86400LL
#define START 1800000000LL

struct test_fleet {
    char dir[64];
    struct ca *ca;
    struct roster *roster;
    struct workpool *pool;
};
static struct test_fleet fleet;

static inline void set_time(int64_t wall_s) {
    clock_set_fake(1000, wall_s);
}

static X509 *fleet_sign(const struct member *m, EVP_PKEY *key, void *arg) {
    (void)arg;
    return ca_issue(fleet.ca, m, key);
}

static inline void fleet_open(void) {
    struct error err = {0};
    if (ca_open(&fleet.ca, fleet.dir, NULL, &err) < 0) fail_msg("%s", err.msg);
    fleet.pool = workpool_new("test", 1);
    const struct roster_config rc = {
        .data = fleet.dir, .pool = fleet.pool, .lifetime_s = 30 * DAY, .sign = fleet_sign, .fleet = ca_fleet(fleet.ca)};
    if (roster_open(&fleet.roster, &rc, &err) < 0) fail_msg("%s", err.msg);
}

static inline void fleet_close(void) {
    workpool_free(fleet.pool);
    roster_close(fleet.roster);
    ca_close(fleet.ca);
}

static inline int fleet_setup(void **state) {
    (void)state;
    log_init(2, LOG_FORMAT_KV, LOG_LEVEL_ERROR, "test");
    snprintf(fleet.dir, sizeof(fleet.dir), "/tmp/entrepot-fleet-XXXXXX");
    assert_non_null(mkdtemp(fleet.dir));
    set_time(START);
    fleet_open();
    return 0;
}

static inline int fleet_teardown(void **state) {
    (void)state;
    fleet_close();
    clock_set_fake(-1, 0);
    return folder_remove(fleet.dir);
}

static inline void fleet_invite(const char *secret, const char *site, const char *replaces, unsigned uses) {
    struct error err = {0};
    const struct invite i = {.site = site, .replaces = replaces, .uses = uses, .expires_at = clock_wall_s() + 3600};
    if (roster_invite(fleet.roster, &i, secret, strlen(secret), &err) < 0) fail_msg("%s", err.msg);
}

static inline int fleet_join(const char *secret, EVP_PKEY *key, const char *site, X509 **cert, struct edge_facts *f,
                             struct error *err) {
    *err = (struct error){0};
    *cert = NULL;
    return roster_join(fleet.roster,
                       &(struct join_ask){.secret = secret, .secret_len = strlen(secret), .key = key, .site = site},
                       cert, f, err);
}

#endif
