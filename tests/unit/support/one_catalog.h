/* A catalogue in a folder of its own, a work pool, and a serving loop that the test runs itself. Thread: the test's. */
#ifndef ENTREPOT_TESTS_ONE_CATALOG_H
#define ENTREPOT_TESTS_ONE_CATALOG_H

#include "central/catalog/catalog.h"
#include "common/core/loop.h"
#include "common/core/workpool.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/support/folder.h"

#define CATALOG_THREADS 2

static char dir[256];
static struct catalog *catalog;
static struct workpool *pool;
static struct loop *loop;

/* 0, as cmocka wants it, or -1. */
static inline int one_catalog_open(void) {
    char path[300];
    const char *tmp = getenv("TMPDIR");
    snprintf(dir, sizeof(dir), "%s/catalog-XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(dir)) return -1;
    snprintf(path, sizeof(path), "%s/catalog.db", dir);
    pool = workpool_new("work", CATALOG_THREADS);
    loop = loop_new("serving");
    return catalog_open(&catalog, path, CATALOG_THREADS, NULL) < 0 ? -1 : 0;
}

/* Before what the test has made on pool, loop and catalogue is freed: no job is under way any more. */
static inline void one_catalog_stop(void) {
    workpool_free(pool);
    loop_free(loop);
}

static inline int one_catalog_remove(void) {
    catalog_close(catalog);
    return folder_remove(dir);
}

#endif
