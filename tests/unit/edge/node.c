/* An edge's node is stopped while a job is under way that comes back to the control loop. */
#include "edge/program.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/core/alloc.h"
#include "common/core/offload.h"
#include "common/node/runtime.h"
#include "edge/link/link_part.h"
#include "edge/pull/pull_part.h"
#include "edge/replica/replica_part.h"
#include "tests/unit/support/folder.h"

/* More than a stop without connections takes until its loops have ended. */
#define JOB_US 500000

static struct late {
    struct node *node;
    struct offload job;
    bool is_back;
} late;

static void work(struct offload *o) {
    (void)o;
    usleep(JOB_US);
}

static void back(struct offload *o) {
    container_of(o, struct late, job)->is_back = true;
}

static int start(struct node *n, void **self, struct error *err) {
    (void)err;
    late.node = n;
    late.job = (struct offload){.run = work, .back = back};
    *self = &late;
    return 0;
}

static void running(void *self) {
    (void)self;
    kill(getpid(), SIGTERM);
}

static void ending(void *self) {
    struct late *l = self;
    offload_start(&l->job, l->node->pool, l->node->control);
}

static void stop(void *self) {
    if (!((struct late *)self)->is_back) _exit(99);
}

static const struct node_part part_late = {
    .name = "late", .start = start, .running = running, .ending = ending, .stop = stop};

static const struct node_part *const parts[] = {&part_store, &part_link,     &part_replica, &part_pull, &part_asker,
                                                &part_fills, &part_registry, &part_late,    NULL};

static int serve(const struct command_context *ctx) {
    static const struct runtime_tier tier = {.parts = parts};
    return runtime_serve(ctx, &tier);
}

/* The exit status of such an edge. */
static int serve_in(const char *dir) {
    char data[300];
    snprintf(data, sizeof(data), "data=%s", dir);
    char *argv[] = {"entrepot-edge",
                    "serve",
                    "--config",
                    "/dev/null",
                    "--set",
                    data,
                    "--set",
                    "registry.listen=127.0.0.1:0",
                    "--set",
                    "admin.listen=127.0.0.1:0",
                    NULL};
    struct cli_program program = edge_program;
    program.serve = serve;
    return cli_main((int)ARRAY_LEN(argv) - 1, argv, &program);
}

static void a_part_is_stopped_only_when_its_jobs_are_back(void **state) {
    (void)state;
    char dir[256];
    int status;
    const char *tmp = getenv("TMPDIR");
    snprintf(dir, sizeof(dir), "%s/entrepot-node-XXXXXX", tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(dir));
    pid_t pid = fork();
    if (pid == 0) _exit(serve_in(dir));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    folder_remove(dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_part_is_stopped_only_when_its_jobs_are_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
