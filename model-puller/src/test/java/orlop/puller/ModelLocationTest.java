package orlop.puller;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import orlop.puller.PullException.Kind;

/** How a path and a key become a place: storages are looked up as KServe looks them up. */
final class ModelLocationTest {
  @TempDir Path temp;

  private static StorageConfig s3(String host, String bucket) {
    return new StorageConfig(
        "s3",
        Map.of(
            "endpoint_url",
            "http://" + host,
            "access_key_id",
            "id",
            "secret_access_key",
            "secret-text",
            "bucket",
            bucket));
  }

  private Place resolve(Map<String, StorageConfig> storages, String path, String key)
      throws PullException {
    PullerConfig config = Fixtures.config(temp.resolve("cache"), 1, storages).withRoots(temp, null);
    try (S3Clients clients = new S3Clients(config)) {
      return new SourceResolver(config, clients)
          .resolve(new ModelLocation(path, key), storages)
          .place();
    }
  }

  @Test
  void looksUpTheNamedStorageThenTheDefaultOfItsTypeThenTheDefault() throws Exception {
    Map<String, StorageConfig> storages =
        Map.of(
            "mine",
            s3("mine", "b1"),
            "default_s3",
            s3("by-type", "b2"),
            "default",
            s3("any", "b3"));
    assertEquals(
        new Place("s3://b1/m", "http://mine"),
        resolve(storages, "m", "{\"storage_key\":\"mine\"}"));
    assertEquals(new Place("s3://x/m", "http://by-type"), resolve(storages, "s3://x/m", ""));
    assertEquals(
        new Place("s3://b2/m", "http://by-type"),
        resolve(storages, "m", "{\"storage_params\":{\"type\":\"s3\"}}"));
    assertEquals(new Place("s3://b3/m", "http://any"), resolve(storages, "/m", ""));
    assertEquals(
        new Place("s3://x/m", "http://any"),
        resolve(Map.of("default", s3("any", "b3")), "s3://x/m", ""));
  }

  @Test
  void theModelsOwnParametersWinOverTheStorages() throws Exception {
    Map<String, StorageConfig> storages = Map.of("default", s3("any", "b3"));
    assertEquals("s3://top/m", resolve(storages, "m", "{\"bucket\":\"top\"}").location());
    assertEquals(
        "s3://inner/m",
        resolve(storages, "m", "{\"bucket\":\"top\",\"storage_params\":{\"bucket\":\"inner\"}}")
            .location());
    assertEquals(
        "s3://b3/m",
        resolve(
                storages,
                "m",
                "{\"model_type\":{\"name\":\"onnx\"},\"disk_size_bytes\":5,\"schema_path\":null}")
            .location());
  }

  @Test
  void findsAClaimByUriAndByStorage() throws Exception {
    Map<String, StorageConfig> storages =
        Map.of("claim", new StorageConfig("pvc", Map.of("name", "c")));
    Place expected = new Place("pvc://c/a/b", temp.resolve("c").toString());
    assertEquals(expected, resolve(storages, "pvc://c/a/b", ""));
    assertEquals(expected, resolve(storages, "a/b", "{\"storage_key\":\"claim\"}"));
  }

  @Test
  void saysWhatIsWrongWithALocation() {
    Map<String, StorageConfig> storages =
        Map.of(
            "mine", s3("mine", "b"),
            "half", new StorageConfig("s3", Map.of("access_key_id", "x")),
            "odd", new StorageConfig("s3", Map.of("endpoint_url", "ftp://x")),
            "lake", new StorageConfig("azure", Map.of()));
    String[][] cases = {
      {"", "", "the path is empty"},
      {"m", "", "its key names none"},
      {"m", "{", "its key is not JSON"},
      {"m", "[]", "not a JSON object"},
      {
        "m",
        "{\"storage_key\":\"nope\"}",
        "there is no storage 'nope'; known: [half, lake, mine, odd]"
      },
      {"m", "{\"storage_key\":\"lake\"}", "has type 'azure'"},
      {"m", "{\"storage_key\":\"half\"}", "names a bucket"},
      {"s3://b/m", "{\"storage_key\":\"half\"}", "only one of access_key_id"},
      {"s3://b/m", "{\"storage_key\":\"odd\"}", "endpoint_url 'ftp://x' is not http"},
      {"s3://b/m", "{\"storage_key\":\"lake\"}", "not s3"},
      {"s3:///m", "", "no bucket"},
      {"s3://b/a/../m", "", "contains '..'"},
      {"hf://org/model", "", "there is no store for 'hf'"},
      {"file:relative", "", "expected file:/absolute"},
      {"file:/with space", "", "written as %20"},
      {"pvc:///m", "", "names no claim"},
      {"pvc://../m", "", "names no claim"},
      {"pvc://c/../../m", "", "leads out of the claim"},
    };
    for (String[] c : cases) {
      PullException e = Fixtures.refused(Kind.BAD_LOCATION, () -> resolve(storages, c[0], c[1]));
      assertTrue(e.getMessage().contains(c[2]), e.getMessage() + " lacks " + c[2]);
    }
  }

  @Test
  void readsAMountedSecret() throws Exception {
    Files.writeString(
        temp.resolve("minio"), "{\"type\":\"S3\",\"endpoint_url\":\"http://h\",\"port\":1}");
    Files.createDirectories(temp.resolve("..data"));
    Files.writeString(temp.resolve(".hidden"), "not JSON");
    Map<String, StorageConfig> storages = StorageConfig.readDirectory(temp);
    assertEquals(
        Map.of("minio", new StorageConfig("s3", Map.of("endpoint_url", "http://h", "port", "1"))),
        storages);
    Files.writeString(temp.resolve("bad"), "{\"secret\":\"secret-text\"");
    IllegalArgumentException e =
        assertThrows(IllegalArgumentException.class, () -> StorageConfig.readDirectory(temp));
    assertTrue(String.valueOf(e.getMessage()).contains("'bad' is not JSON"), e.getMessage());
    assertFalse(String.valueOf(e.getMessage()).contains("secret-text"), e.getMessage());
  }

  @Test
  void aConfigOutOfRangeNamesKeyValueAndRange() {
    IllegalArgumentException e =
        assertThrows(
            IllegalArgumentException.class,
            () -> new PullerConfig(temp, 1, 65, 1 << 20, 1, 1, 1, 1, 1, 0, Map.of(), null, null));
    assertEquals("puller.parallelParts is 65; expected 1 to 64", e.getMessage());
  }
}
