package orlop.blackbox;

import java.util.HashMap;
import java.util.Map;

/**
 * {@code key=value} pairs joined by {@code &}.
 *
 * <p>Of the runtime: {@code port}, {@code socket}, {@code capacity} (bytes), {@code loading} (at
 * the same time), {@code loadTimeoutMs}, {@code defaultSize} (bytes), {@code startMs} (so long it
 * says STARTING), {@code failing}, {@code predicts}, {@code limit} (the concurrency of each model),
 * {@code methods} (names and id paths, {@code pkg.Service/Method:2.3,…}), {@code any}, {@code
 * mended} (no load fails), {@code unknown} ({@code triton}, {@code mlserver} or a plain NOT_FOUND).
 *
 * <p>Of a model, in its path after a question mark: {@code size} (bytes; 0: is asked for), {@code
 * measured}, {@code loadMs}, {@code fail} (a gRPC code), {@code failTimes}, {@code concurrency},
 * {@code runMs}.
 */
record RuntimeOptions(Map<String, String> pairs) {
  static RuntimeOptions of(String text) {
    Map<String, String> pairs = new HashMap<>();
    for (String pair : text.split("&", -1)) {
      int eq = pair.indexOf('=');
      if (eq > 0) {
        pairs.put(pair.substring(0, eq), pair.substring(eq + 1));
      }
    }
    return new RuntimeOptions(pairs);
  }

  String text(String key, String byDefault) {
    return pairs.getOrDefault(key, byDefault);
  }

  long number(String key, long byDefault) {
    String value = pairs.get(key);
    return value == null ? byDefault : Long.parseLong(value);
  }
}
