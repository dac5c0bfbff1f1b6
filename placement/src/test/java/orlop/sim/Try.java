package orlop.sim;

import java.util.*;
import orlop.placement.*;

class Try {
  public static void main(String[] a) {
    int models = Integer.parseInt(a[0]), calls = Integer.parseInt(a[1]);
    double rate = Double.parseDouble(a[2]);
    Map<String, List<Double>> all = new TreeMap<>();
    for (String w : a[3].split(",")) {
      String[] p = w.split(":");
      Traffic.Shape shape = Traffic.Shape.valueOf(p[0]);
      double z = p.length > 1 ? Double.parseDouble(p[1]) : 0.9;
      int ch = p.length > 2 ? Integer.parseInt(p[2]) : 50000;
      for (double cap : new double[] {0.05, 0.10, 0.20}) {
        StringBuilder line = new StringBuilder(String.format("%-14s %4.2f |", w, cap));
        for (String s : a[4].split(",")) {
          long seed = Long.parseLong(s);
          Traffic.Plan plan =
              new Traffic.Plan(shape, models, rate, z, 4L * 3600 * 1000000000L, ch, seed);
          Trace t = Trace.of(plan, calls);
          long bytes = (long) (t.bytes(models) * cap);
          int warm = calls / 4;
          double lru = Replay.run(t, bytes, Eviction.LRU.policy(), warm).loadSeconds();
          for (Eviction e : Eviction.values()) {
            if (e == Eviction.LRU || (a.length > 5 && e != Eviction.ADAPTIVE)) continue;
            long t0 = System.nanoTime();
            Replay.Result r = Replay.run(t, bytes, e.policy(), warm);
            line.append(String.format(" %.3f", lru / r.loadSeconds()));
            all.computeIfAbsent(e + " " + (shape), _ -> new ArrayList<>())
                .add(lru / r.loadSeconds());
          }
          if (a.length <= 5)
            line.append(
                String.format(
                    " oracle %.2f |", lru / Replay.runClairvoyant(t, bytes, warm).loadSeconds()));
        }
        if (a.length <= 5 && shape == Traffic.Shape.SCAN)
          for (Eviction e : Eviction.values()) {
            Trace
                q =
                    Trace.of(
                        new Traffic.Plan(
                            Traffic.Shape.ZIPF, models, rate, z, 4L * 3600 * 1000000000L, 103),
                        calls),
                t =
                    Trace.of(
                        new Traffic.Plan(shape, models, rate, z, 4L * 3600 * 1000000000L, 103),
                        calls);
            long bytes = (long) (t.bytes(models) * cap);
            line.append(
                String.format(
                    " %s drop %.2f",
                    e,
                    100
                        * (Replay.run(q, bytes, e.policy(), calls / 4).hotHitRatio()
                            - Replay.run(t, bytes, e.policy(), calls / 4).hotHitRatio())));
          }
        System.out.println(line);
      }
    }
    all.forEach(
        (k, v) -> {
          Collections.sort(v);
          System.out.printf(
              java.util.Locale.ROOT, "%s median %.3f min %.3f%n", k, v.get(v.size() / 2), v.get(0));
        });
  }
}
