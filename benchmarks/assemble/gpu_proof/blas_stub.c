/* Stands in for OpenBLAS (24 MB) behind numpy, which only carries tensors here. numpy multiplies
   two vectors when it is imported, to see that its BLAS works; everything else ends the process. */
#include <stdint.h>
#include <stdlib.h>

float scipy_cblas_sdot64_(int64_t n, const float *x, int64_t dx, const float *y, int64_t dy) {
    float sum = 0;
    for (int64_t i = 0; i < n; i++) sum += x[i * dx] * y[i * dy];
    return sum;
}

#define ABSENT(name) void name(void) { abort(); }
