/* A test's own folder. */
#ifndef ENTREPOT_TESTS_FOLDER_H
#define ENTREPOT_TESTS_FOLDER_H

#include <stdio.h>
#include <stdlib.h>

/* With all that is in it. 0 or not, as a teardown returns it. */
static inline int folder_remove(const char *dir) {
    char command[600];
    snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    return system(command);
}

#endif
