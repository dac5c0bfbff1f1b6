package orlop.pod;

import inference.InferBatchStatistics;
import inference.InferResponseStatistics;
import inference.InferStatistics;
import inference.MemoryUsage;
import inference.ModelStatistics;
import inference.StatisticDuration;
import java.util.List;
import java.util.TreeMap;
import orlop.pod.ModelStats.BatchTimes;
import orlop.pod.ModelStats.Figures;
import orlop.pod.ModelStats.Times;

/** {@link ModelStats} as messages of Triton's statistics extension, and their sums. Pure. */
final class Statistics {
  private Statistics() {}

  /** Of a model that has done nothing. */
  static ModelStatistics none(String name) {
    return of(name, new ModelStats().figures());
  }

  static ModelStatistics of(String name, Figures figures) {
    ModelStatistics.Builder told =
        ModelStatistics.newBuilder()
            .setName(name)
            .setVersion(Named.VERSION)
            .setLastInference(figures.lastInferenceMs())
            .setInferenceCount(figures.inferences())
            .setExecutionCount(figures.executions())
            .setInferenceStats(
                InferStatistics.newBuilder()
                    .setSuccess(duration(figures.success()))
                    .setFail(duration(figures.fail()))
                    .setQueue(duration(figures.queue()))
                    .setComputeInput(duration(figures.input()))
                    .setComputeInfer(duration(figures.infer()))
                    .setComputeOutput(duration(figures.output()))
                    .setCacheHit(StatisticDuration.getDefaultInstance())
                    .setCacheMiss(StatisticDuration.getDefaultInstance()))
            // A request has one answer, the one with index 0.
            .putResponseStats(
                "0",
                InferResponseStatistics.newBuilder()
                    .setComputeInfer(duration(figures.infer()))
                    .setComputeOutput(duration(figures.output()))
                    .setSuccess(duration(figures.success()))
                    .setFail(duration(figures.fail()))
                    .setEmptyResponse(StatisticDuration.getDefaultInstance())
                    .setCancel(duration(figures.cancel()))
                    .build());
    for (BatchTimes batch : figures.batches()) {
      told.addBatchStats(
          InferBatchStatistics.newBuilder()
              .setBatchSize(batch.size())
              .setComputeInput(duration(batch.input()))
              .setComputeInfer(duration(batch.infer()))
              .setComputeOutput(duration(batch.output())));
    }
    return told.build();
  }

  static MemoryUsage memory(boolean video, long bytes) {
    return MemoryUsage.newBuilder().setType(video ? "GPU" : "CPU").setByteSize(bytes).build();
  }

  private static StatisticDuration duration(Times times) {
    return StatisticDuration.newBuilder().setCount(times.count()).setNs(times.ns()).build();
  }

  /** What one model did in several pods; at least one. */
  static ModelStatistics sum(List<ModelStatistics> pods) {
    ModelStatistics first = pods.getFirst();
    if (pods.size() == 1) {
      return first;
    }
    ModelStatistics.Builder sum = first.toBuilder().clearBatchStats();
    TreeMap<Long, InferBatchStatistics> batches = new TreeMap<>();
    first.getBatchStatsList().forEach(batch -> batches.put(batch.getBatchSize(), batch));
    for (ModelStatistics pod : pods.subList(1, pods.size())) {
      sum.setLastInference(Math.max(sum.getLastInference(), pod.getLastInference()))
          .setInferenceCount(sum.getInferenceCount() + pod.getInferenceCount())
          .setExecutionCount(sum.getExecutionCount() + pod.getExecutionCount())
          .setInferenceStats(sum(sum.getInferenceStats(), pod.getInferenceStats()))
          .addAllMemoryUsage(pod.getMemoryUsageList());
      pod.getBatchStatsList()
          .forEach(batch -> batches.merge(batch.getBatchSize(), batch, Statistics::sum));
      pod.getResponseStatsMap()
          .forEach(
              (index, stats) -> {
                InferResponseStatistics known = sum.getResponseStatsMap().get(index);
                sum.putResponseStats(index, known == null ? stats : sum(known, stats));
              });
    }
    return sum.addAllBatchStats(batches.values()).build();
  }

  private static StatisticDuration sum(StatisticDuration a, StatisticDuration b) {
    return StatisticDuration.newBuilder()
        .setCount(a.getCount() + b.getCount())
        .setNs(a.getNs() + b.getNs())
        .build();
  }

  private static InferStatistics sum(InferStatistics a, InferStatistics b) {
    return InferStatistics.newBuilder()
        .setSuccess(sum(a.getSuccess(), b.getSuccess()))
        .setFail(sum(a.getFail(), b.getFail()))
        .setQueue(sum(a.getQueue(), b.getQueue()))
        .setComputeInput(sum(a.getComputeInput(), b.getComputeInput()))
        .setComputeInfer(sum(a.getComputeInfer(), b.getComputeInfer()))
        .setComputeOutput(sum(a.getComputeOutput(), b.getComputeOutput()))
        .setCacheHit(sum(a.getCacheHit(), b.getCacheHit()))
        .setCacheMiss(sum(a.getCacheMiss(), b.getCacheMiss()))
        .build();
  }

  private static InferBatchStatistics sum(InferBatchStatistics a, InferBatchStatistics b) {
    return a.toBuilder()
        .setComputeInput(sum(a.getComputeInput(), b.getComputeInput()))
        .setComputeInfer(sum(a.getComputeInfer(), b.getComputeInfer()))
        .setComputeOutput(sum(a.getComputeOutput(), b.getComputeOutput()))
        .build();
  }

  private static InferResponseStatistics sum(InferResponseStatistics a, InferResponseStatistics b) {
    return InferResponseStatistics.newBuilder()
        .setComputeInfer(sum(a.getComputeInfer(), b.getComputeInfer()))
        .setComputeOutput(sum(a.getComputeOutput(), b.getComputeOutput()))
        .setSuccess(sum(a.getSuccess(), b.getSuccess()))
        .setFail(sum(a.getFail(), b.getFail()))
        .setEmptyResponse(sum(a.getEmptyResponse(), b.getEmptyResponse()))
        .setCancel(sum(a.getCancel(), b.getCancel()))
        .build();
  }
}
