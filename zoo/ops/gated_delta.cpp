// The chunkwise gated delta rule, forward, float32: the algebra of gated_delta_chunks.py, one batch entry and head at a
// time, so that everything of a chunk stays in the first two caches. The triangular system is solved by substitution.
// A plain C interface: neither torch's headers nor its binary interface matter, and a build takes seconds.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <new>
#include <thread>
#include <vector>

namespace {

#if defined(__AVX512F__)
constexpr int kLanes = 16, kWide = 4;
#elif defined(__AVX2__)
constexpr int kLanes = 8, kWide = 2;
#else
constexpr int kLanes = 4, kWide = 4;
#endif
typedef float Vec __attribute__((vector_size(kLanes * 4)));
typedef int32_t Int __attribute__((vector_size(kLanes * 4)));

constexpr double kMinLogDecay = -40.0;
constexpr int kBlock = 8;

Vec all(float x) { return Vec{} + x; }
Vec load(const float* p) { return *reinterpret_cast<const Vec*>(p); }
void store(float* p, Vec v) { *reinterpret_cast<Vec*>(p) = v; }
int64_t padded(int64_t n) { return (n + kLanes - 1) / kLanes * kLanes; }

// Of x <= 0; below -87 it is 0. NaN stays NaN.
Vec exp_of(Vec x) {
  Vec low = all(-87.0f), t = x < low ? low : x;
  Vec n = (t * 1.44269504f + 12582912.0f) - 12582912.0f;
  Vec r = t - n * 0.693359375f;
  r = r + n * 2.12194440e-4f;
  Vec p = all(1.9875691500e-4f);
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  Int bits = (__builtin_convertvector(n, Int) + 127) << 23;
  Vec two;
  std::memcpy(&two, &bits, sizeof two);
  return x < low ? Vec{} : p * two;
}

enum Start { kZero, kAdd, kSubtract };

// ROWS x (COLS vectors) of c = 0 + a b, c + a b or c - a b; a has any strides, rows of b and c are aligned.
template <int ROWS, int COLS, Start START>
void tile(int64_t depth, const float* a, int64_t row, int64_t col, const float* b, int64_t ldb, float* c, int64_t ldc) {
  Vec sum[ROWS][COLS];
  for (int i = 0; i < ROWS; ++i)
    for (int j = 0; j < COLS; ++j) sum[i][j] = START == kZero ? Vec{} : load(c + i * ldc + j * kLanes);
  for (int64_t k = 0; k < depth; ++k) {
    Vec right[COLS];
    for (int j = 0; j < COLS; ++j) right[j] = load(b + k * ldb + j * kLanes);
    for (int i = 0; i < ROWS; ++i) {
      Vec left = all(a[i * row + k * col]);
      for (int j = 0; j < COLS; ++j) sum[i][j] = START == kSubtract ? sum[i][j] - left * right[j] : sum[i][j] + left * right[j];
    }
  }
  for (int i = 0; i < ROWS; ++i)
    for (int j = 0; j < COLS; ++j) store(c + i * ldc + j * kLanes, sum[i][j]);
}

template <int ROWS, int COLS, Start START>
void strip(int64_t rows, int64_t depth, const float* a, int64_t row, int64_t col, const float* b, int64_t ldb, float* c,
           int64_t ldc) {
  int64_t i = 0;
  for (; i + ROWS <= rows; i += ROWS) tile<ROWS, COLS, START>(depth, a + i * row, row, col, b, ldb, c + i * ldc, ldc);
  for (; i < rows; ++i) tile<1, COLS, START>(depth, a + i * row, row, col, b, ldb, c + i * ldc, ldc);
}

template <Start START>
void product(int64_t rows, int64_t cols, int64_t depth, const float* a, int64_t row, int64_t col, const float* b,
             int64_t ldb, float* c, int64_t ldc) {
  int64_t j = 0;
  for (; j + kWide * kLanes <= cols; j += kWide * kLanes) strip<4, kWide, START>(rows, depth, a, row, col, b + j, ldb, c + j, ldc);
  for (; j + 2 * kLanes <= cols; j += 2 * kLanes) strip<4, 2, START>(rows, depth, a, row, col, b + j, ldb, c + j, ldc);
  for (; j < cols; j += kLanes) strip<8, 1, START>(rows, depth, a, row, col, b + j, ldb, c + j, ldc);
}

struct Memory {
  std::vector<float*> parts;
  float* take(int64_t count) {
    auto* p = static_cast<float*>(::operator new(padded(count) * sizeof(float), std::align_val_t(64)));
    parts.push_back(p);
    std::memset(p, 0, padded(count) * sizeof(float));
    return p;
  }
  ~Memory() {
    for (auto* p : parts) ::operator delete(p, std::align_val_t(64));
  }
};

struct Sizes {
  int64_t time, heads, K, V, C;
  float scale;
};

// Solves (I + A) X = Y in place, A strictly lower.
void solve(int64_t C, const float* A, int64_t lda, float* X, int64_t ldx) {
  for (int64_t first = 0; first < C; first += kBlock) {
    int64_t last = std::min(first + kBlock, C);
    if (first) product<kSubtract>(last - first, ldx, first, A + first * lda, lda, 1, X, ldx, X + first * ldx, ldx);
    for (int64_t j = 0; j < ldx; j += kLanes) {
      Vec x[kBlock];
      for (int64_t i = first; i < last; ++i) {
        Vec sum = load(X + i * ldx + j);
        for (int64_t k = first; k < i; ++k) sum = sum - A[i * lda + k] * x[k - first];
        x[i - first] = sum;
        store(X + i * ldx + j, sum);
      }
    }
  }
}

void head(const Sizes& s, const float* q, const float* k, const float* v, const float* g, const float* beta, float* out,
          float* state) {
  const int64_t C = s.C, K = s.K, V = s.V, Cp = padded(C), Vp = padded(V);
  Memory memory;
  float *S = memory.take(K * Vp), *rows = memory.take(2 * C * K), *turned = memory.take(K * Cp);
  float *scores = memory.take(2 * C * Cp), *scaled = memory.take(C * K), *E = memory.take(C * Vp);
  float *O = memory.take(C * Vp), *gamma = memory.take(Cp), *strength = memory.take(C), *from = memory.take(C);
  float* to = memory.take(C);
  std::vector<double> c(C);
  for (int64_t i = 0; i < K; ++i) std::memcpy(S + i * Vp, state + i * V, V * sizeof(float));
  for (int64_t first = 0; first < s.time; first += C) {
    const int64_t here = std::min(C, s.time - first);
    double sum = 0.0;
    for (int64_t i = 0; i < C; ++i) {
      const int64_t token = (first + i) * s.heads;
      const bool real = i < here;
      if (real) {
        const double decay = g[token];
        sum += decay < kMinLogDecay ? kMinLogDecay : decay;
        std::memcpy(rows + i * K, k + token * K, K * sizeof(float));
        std::memcpy(rows + (C + i) * K, q + token * K, K * sizeof(float));
        std::memcpy(E + i * Vp, v + token * V, V * sizeof(float));
      } else {
        std::memset(rows + i * K, 0, K * sizeof(float));
        std::memset(rows + (C + i) * K, 0, K * sizeof(float));
        std::memset(E + i * Vp, 0, V * sizeof(float));
      }
      c[i] = sum;
      strength[i] = real ? beta[token] : 0.0f;
      from[i] = static_cast<float>(std::exp(sum));
      for (int64_t d = 0; d < K; ++d) turned[d * Cp + i] = rows[i * K + d];
    }
    for (int64_t i = 0; i < C; ++i) to[i] = static_cast<float>(std::exp(c[C - 1] - c[i]));

    product<kZero>(2 * C, Cp, K, rows, K, 1, turned, Cp, scores, Cp);
    for (int64_t i = 0; i < C; ++i) {
      for (int64_t j = 0; j < Cp; ++j) gamma[j] = j <= i ? static_cast<float>(c[i] - c[j]) : -1e30f;
      float *lower = scores + i * Cp, *attended = scores + (C + i) * Cp;
      for (int64_t j = 0; j < Cp; j += kLanes) {
        const Vec decay = exp_of(load(gamma + j));
        store(lower + j, load(lower + j) * decay * strength[i]);
        store(attended + j, load(attended + j) * decay * s.scale);
      }
    }

    for (int64_t i = 0; i < C; ++i)
      for (int64_t d = 0; d < K; ++d) scaled[i * K + d] = rows[i * K + d] * from[i];
    product<kSubtract>(C, Vp, K, scaled, K, 1, S, Vp, E, Vp);
    for (int64_t i = 0; i < C; ++i)
      for (int64_t j = 0; j < Vp; ++j) E[i * Vp + j] *= strength[i];
    solve(C, scores, Cp, E, Vp);

    for (int64_t i = 0; i < C; ++i)
      for (int64_t d = 0; d < K; ++d) scaled[i * K + d] = rows[(C + i) * K + d] * (s.scale * from[i]);
    product<kZero>(C, Vp, K, scaled, K, 1, S, Vp, O, Vp);
    product<kAdd>(C, Vp, C, scores + C * Cp, Cp, 1, E, Vp, O, Vp);
    for (int64_t i = 0; i < here; ++i) std::memcpy(out + (first + i) * s.heads * V, O + i * Vp, V * sizeof(float));

    for (int64_t i = 0; i < C; ++i)
      for (int64_t d = 0; d < K; ++d) scaled[i * K + d] = rows[i * K + d] * to[i];
    for (int64_t i = 0; i < K * Vp; ++i) S[i] *= from[C - 1];
    product<kAdd>(K, Vp, C, scaled, 1, K, E, Vp, S, Vp);
  }
  for (int64_t i = 0; i < K; ++i) std::memcpy(state + i * V, S + i * Vp, V * sizeof(float));
}

}  // namespace

// q, k [batch, time, heads, K], v and out [.., V], g and beta [batch, time, heads], state [batch, heads, K, V], in and
// out; all contiguous. Each head is computed alone, so the number of threads changes no bit. Returns 0, or 1 without memory.
extern "C" int gated_delta_forward(const float* q, const float* k, const float* v, const float* g, const float* beta,
                                   float* out, float* state, int64_t batch, int64_t time, int64_t heads, int64_t K,
                                   int64_t V, int64_t C, float scale, int64_t threads) {
  const Sizes sizes{time, heads, K, V, C, scale};
  const int64_t all_heads = batch * heads;
  threads = std::max<int64_t>(1, std::min(threads, all_heads));
  std::vector<int> failed(threads, 0);
  auto work = [&](int64_t number) {
    try {
      for (int64_t n = number; n < all_heads; n += threads) {
        const int64_t place = n / heads * time * heads + n % heads;
        head(sizes, q + place * K, k + place * K, v + place * V, g + place, beta + place, out + place * V,
             state + n * K * V);
      }
    } catch (...) {
      failed[number] = 1;
    }
  };
  try {
    std::vector<std::thread> others;
    int64_t started = 1;
    try {
      for (; started < threads; ++started) others.emplace_back(work, started);
    } catch (...) {
    }
    work(0);
    for (int64_t number = started; number < threads; ++number) work(number);
    for (auto& other : others) other.join();
  } catch (...) {
    return 1;
  }
  return std::any_of(failed.begin(), failed.end(), [](int f) { return f; }) ? 1 : 0;
}
