/* The same kernel with code for each of the 256 masks where that is faster: for models that save much more. */
#define TFL_SPARSE_DENSE tfl_sparse_dense_large
#define TFL_SPARSE_LARGE 1
#include "sparse_dense.c"
