/* entrepot-edge: the branch's cache. Thread: main. */
#include "edge/program.h"

int main(int argc, char **argv) {
    return cli_main(argc, argv, &edge_program);
}
