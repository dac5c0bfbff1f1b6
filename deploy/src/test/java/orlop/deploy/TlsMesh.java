package orlop.deploy;

import inference.InferTensorContents;
import inference.ModelInferRequest;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import orlop.placement.Model;
import orlop.registry.LocalRegistry;

/**
 * Pods that speak TLS by certificates made here, and one model, {@code m}, that sums two numbers.
 */
final class TlsMesh implements AutoCloseable {
  private static final String MODEL =
      """
      {"learner":{"attributes":{},"feature_names":[],"feature_types":[],"gradient_booster":{"model":
      {"boosted_rounds":1,"weights":[1,1,1]},"name":"gblinear"},"learner_model_param":
      {"base_score":"[0]","boost_from_average":"1","num_class":"0","num_feature":"2","num_target":"1"},
      "objective":{"name":"reg:squarederror","reg_loss_param":{"scale_pos_weight":"1"}}},"version":[3,2,0]}
      """;

  /** Signs pods, and vouches for them towards each other. */
  final Authority pods;

  /** Signs callers; pods know nothing of it by themselves. */
  final Authority callers;

  /** What all pods show. */
  final Authority.Written own;

  final Teardown teardown = new Teardown();
  final LocalRegistry registry = new LocalRegistry();
  private final Path dir;

  TlsMesh(Path dir) throws Exception {
    this.dir = dir;
    pods = new Authority(dir, "pods");
    callers = new Authority(dir, "clients");
    own = pods.write("pod", pods.sign("pod"));
    Files.writeString(dir.resolve("m.json"), MODEL);
    registry.createModel(
        Model.of("m", "xgboost", "file:" + dir.resolve("m.json"), "", System.currentTimeMillis()));
  }

  /** Starts a pod with more settings, or others. */
  PodProcess.Announcement start(String id, String... more) throws Exception {
    List<String> all =
        new ArrayList<>(
            List.of(
                "pod.id=" + id,
                "pod.host=127.0.0.1",
                "pod.grpcPort=0",
                "pod.restPort=0",
                "pod.probePort=0",
                "pod.metricsPort=0",
                "pod.drainTimeoutMs=1000",
                "pod.handOverTimeoutMs=0",
                "puller.cacheDirectory='" + dir.resolve("cache-" + id) + "'",
                "tls.certificate='" + own.certificate() + "'",
                "tls.privateKey='" + own.key() + "'",
                "tls.podTrust='" + pods.file() + "'",
                "tls.reloadMs=100"));
    all.addAll(List.of(more));
    return Roles.pod(Settings.read(null, all), registry, teardown);
  }

  /** What the model takes, with that id. */
  static ModelInferRequest request(String id) {
    return ModelInferRequest.newBuilder()
        .setModelName("m")
        .setId(id)
        .addInputs(
            ModelInferRequest.InferInputTensor.newBuilder()
                .setName("input")
                .setDatatype("FP32")
                .addShape(1)
                .addShape(2)
                .setContents(
                    InferTensorContents.newBuilder().addFp32Contents(2).addFp32Contents(3)))
        .build();
  }

  @Override
  public void close() {
    teardown.close();
    registry.close();
  }
}
