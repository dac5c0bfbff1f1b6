// Drives pods by the protocol file alone: node conformance.js FOLDER_OF_PROTOS HOST:PORT [HOST:PORT ...]
// Each check says "ok NAME" or "FAILED NAME: why"; the exit status is 0 when all are ok.
'use strict';

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');

const [protos, ...addresses] = process.argv.slice(2);
const definition = loader.loadSync(path.join(protos, 'open_inference.proto'), {
  includeDirs: [protos],
  keepCase: true,
  longs: String,
  enums: String,
  defaults: true,
  oneofs: true,
});
const { GRPCInferenceService } = grpc.loadPackageDefinition(definition).inference;
const TIMEOUT_MS = 60000;

const options = { 'grpc.max_receive_message_length': 64 << 20 };
const clients = addresses.map(
  (address) => new GRPCInferenceService(address, grpc.credentials.createInsecure(), options),
);

function call(client, method, request, headers = {}) {
  const metadata = new grpc.Metadata();
  Object.entries(headers).forEach(([name, value]) => metadata.set(name, value));
  return new Promise((resolve, reject) => {
    client[method](request, metadata, { deadline: Date.now() + TIMEOUT_MS }, (error, answer) =>
      error ? reject(error) : resolve(answer),
    );
  });
}

async function fails(code, promise, text = '') {
  try {
    await promise;
  } catch (error) {
    assert.equal(error.code, code, `${error.code}: ${error.details}`);
    assert.ok(error.details.includes(text), error.details);
    return;
  }
  assert.fail(`expected status ${code}`);
}

const checks = [];
const check = (name, run) => checks.push({ name, run });

// Two elements of each datatype: typed contents, and the same bytes raw.
const bytes = (array) => Buffer.from(array.buffer, array.byteOffset, array.byteLength);
const text = (...words) =>
  Buffer.concat(
    words.flatMap((word) => {
      const length = Buffer.alloc(4);
      length.writeUInt32LE(word.length);
      return [length, word];
    }),
  );
const words = [Buffer.from('\u{1F600} z\u00fc'), Buffer.from([0, 255, 128])];
const TYPES = {
  BOOL: ['bool_contents', [true, false], Buffer.from([1, 0])],
  INT8: ['int_contents', [-128, 127], bytes(Int8Array.of(-128, 127))],
  INT16: ['int_contents', [-32768, 32767], bytes(Int16Array.of(-32768, 32767))],
  INT32: ['int_contents', [-2147483648, 2147483647], bytes(Int32Array.of(-2147483648, 2147483647))],
  INT64: [
    'int64_contents',
    ['-9223372036854775808', '9223372036854775807'],
    bytes(BigInt64Array.of(-9223372036854775808n, 9223372036854775807n)),
  ],
  UINT8: ['uint_contents', [0, 255], bytes(Uint8Array.of(0, 255))],
  UINT16: ['uint_contents', [0, 65535], bytes(Uint16Array.of(0, 65535))],
  UINT32: ['uint_contents', [0, 4294967295], bytes(Uint32Array.of(0, 4294967295))],
  UINT64: ['uint64_contents', ['0', '18446744073709551615'], bytes(BigUint64Array.of(0n, 18446744073709551615n))],
  FP16: [null, null, bytes(Uint16Array.of(0x3e00, 0xc000))],
  BF16: [null, null, bytes(Uint16Array.of(0x3fc0, 0xc000))],
  FP32: ['fp32_contents', [1.5, -2], bytes(Float32Array.of(1.5, -2))],
  FP64: ['fp64_contents', [0.1, -1e300], bytes(Float64Array.of(0.1, -1e300))],
  BYTES: ['bytes_contents', words, text(...words)],
};

function rawRequest(model, type, more = {}) {
  return {
    model_name: model,
    inputs: [{ name: 'x', datatype: type, shape: [1, 2] }],
    raw_input_contents: [TYPES[type][2]],
    ...more,
  };
}

function typedRequest(model, type, more = {}) {
  const [field, values] = TYPES[type];
  return {
    model_name: model,
    inputs: [{ name: 'x', datatype: type, shape: [1, 2], contents: { [field]: values } }],
    ...more,
  };
}

check('the server is live and ready and names its extensions', async () => {
  for (const client of clients) {
    assert.equal((await call(client, 'ServerLive', {})).live, true);
    assert.equal((await call(client, 'ServerReady', {})).ready, true);
    const server = await call(client, 'ServerMetadata', {});
    assert.equal(server.name, 'orlop');
    for (const name of ['statistics', 'model_repository', 'system_shared_memory', 'classification']) {
      assert.ok(server.extensions.includes(name), name);
    }
  }
});

check('a model is ready, an unknown one or version is not found', async () => {
  for (const client of clients) {
    assert.equal((await call(client, 'ModelReady', { name: 'alias' })).ready, true);
    assert.equal((await call(client, 'ModelReady', { name: 'alias', version: '1' })).ready, true);
    await fails(grpc.status.NOT_FOUND, call(client, 'ModelReady', { name: 'nobody' }), "'nobody'");
    await fails(grpc.status.NOT_FOUND, call(client, 'ModelReady', { name: 'alias', version: '2' }), "'2'");
  }
});

check('metadata speaks of the name that was asked for', async () => {
  for (const client of clients) {
    const metadata = await call(client, 'ModelMetadata', { name: 'alias' });
    assert.equal(metadata.name, 'alias');
    assert.deepEqual(metadata.versions, ['1']);
    assert.equal(metadata.platform, 'onnxruntime_onnx');
    assert.deepEqual(metadata.inputs, [{ name: 'x', datatype: 'FP32', shape: ['-1', '2'] }]);
    await fails(grpc.status.NOT_FOUND, call(client, 'ModelMetadata', { name: 'alias', version: '7' }));
  }
});

for (const [type, [field, values, raw]] of Object.entries(TYPES)) {
  check(`${type} comes back raw when it was sent raw`, async () => {
    for (const client of clients) {
      const answer = await call(client, 'ModelInfer', rawRequest(`id_${type}`, type));
      assert.deepEqual(answer.raw_output_contents, [raw]);
      assert.equal(answer.outputs[0].datatype, type);
      assert.deepEqual(answer.outputs[0].shape, ['1', '2']);
    }
  });
  check(`${type} comes back typed when it was sent typed`, async () => {
    for (const client of clients) {
      if (field === null) {
        const request = typedRequest(`id_${type}`, 'FP32');
        request.inputs[0].datatype = type;
        await fails(grpc.status.INVALID_ARGUMENT, call(client, 'ModelInfer', request));
        continue;
      }
      const answer = await call(client, 'ModelInfer', typedRequest(`id_${type}`, type));
      assert.deepEqual(answer.raw_output_contents, []);
      assert.deepEqual(answer.outputs[0].contents[field], values);
    }
  });
}

check('id, version and parameters come back, and only the outputs that were asked for', async () => {
  for (const client of clients) {
    const answer = await call(
      client,
      'ModelInfer',
      typedRequest('alias', 'FP32', {
        id: 'my-id',
        parameters: { mine: { string_param: 'yes' } },
        outputs: [{ name: 'y' }],
      }),
    );
    assert.equal(answer.model_name, 'alias');
    assert.equal(answer.model_version, '1');
    assert.equal(answer.id, 'my-id');
    assert.equal(answer.parameters.mine.string_param, 'yes');
    assert.deepEqual(answer.outputs[0].contents.fp32_contents, [-2.5 + 0.5]);
    await fails(
      grpc.status.INVALID_ARGUMENT,
      call(client, 'ModelInfer', typedRequest('alias', 'FP32', { outputs: [{ name: 'nobody' }] })),
      "'nobody'",
    );
    await fails(
      grpc.status.NOT_FOUND,
      call(client, 'ModelInfer', typedRequest('alias', 'FP32', { model_version: '2' })),
    );
  }
});

check('a header names the model', async () => {
  const answer = await call(clients[0], 'ModelInfer', typedRequest('whatever', 'FP32'), {
    'mm-vmodel-id': 'alias',
  });
  assert.equal(answer.model_name, 'alias');
});

check('a model whose output is always raw answers raw to typed contents', async () => {
  const answer = await call(clients[0], 'ModelInfer', typedRequest('to_FP16', 'FP32'));
  assert.deepEqual(answer.raw_output_contents, [TYPES.FP16[2]]);
});

check('what does not fit is refused with its reason', async () => {
  for (const client of clients) {
    const short = rawRequest('alias', 'FP32');
    short.raw_input_contents = [Buffer.alloc(7)];
    await fails(grpc.status.INVALID_ARGUMENT, call(client, 'ModelInfer', short), '7');
    const both = typedRequest('alias', 'FP32');
    both.raw_input_contents = [TYPES.FP32[2]];
    await fails(grpc.status.INVALID_ARGUMENT, call(client, 'ModelInfer', both));
    const missing = { model_name: 'alias' };
    await fails(grpc.status.INVALID_ARGUMENT, call(client, 'ModelInfer', missing), "'x'");
    await fails(grpc.status.INVALID_ARGUMENT, call(client, 'ModelInfer', {}), 'names no model');
    await fails(grpc.status.NOT_FOUND, call(client, 'ModelInfer', rawRequest('nobody', 'FP32')));
    await fails(grpc.status.FAILED_PRECONDITION, call(client, 'ModelInfer', rawRequest('bad', 'FP32')));
  }
});

check('a message beyond the limit is refused and the connection goes on', async () => {
  const huge = rawRequest('alias', 'FP32');
  huge.raw_input_contents = [Buffer.alloc(17 << 20)];
  await fails(grpc.status.RESOURCE_EXHAUSTED, call(clients[0], 'ModelInfer', huge));
  assert.equal((await call(clients[0], 'ServerLive', {})).live, true);
});

check('compressed messages are read', async () => {
  const zipped = new GRPCInferenceService(addresses[0], grpc.credentials.createInsecure(), {
    'grpc.default_compression_algorithm': 2,
    'grpc.default_compression_level': 2,
  });
  const answer = await call(zipped, 'ModelInfer', rawRequest('alias', 'FP32'));
  assert.equal(answer.model_name, 'alias');
  zipped.close();
});

check('the configuration leaves the batch out of the shapes', async () => {
  for (const client of clients) {
    const { config } = await call(client, 'ModelConfig', { name: 'alias', version: '' });
    assert.equal(config.name, 'alias');
    assert.equal(config.platform, 'onnxruntime_onnx');
    assert.equal(config.backend, 'onnxruntime');
    assert.ok(config.max_batch_size > 0);
    assert.deepEqual(config.input.map((i) => [i.name, i.data_type, i.dims]), [['x', 'TYPE_FP32', ['2']]]);
    assert.deepEqual(config.output.map((o) => [o.name, o.data_type, o.dims]), [['y', 'TYPE_FP32', ['1']]]);
    assert.equal(config.version_policy.policy_choice, 'latest');
    assert.equal(config.model_transaction_policy.decoupled, false);
  }
});

check('statistics grow with what was asked, through any pod', async () => {
  const stats = async (client) => (await call(client, 'ModelStatistics', { name: 'alias' })).model_stats[0];
  const before = await stats(clients[0]);
  for (let i = 0; i < 5; i++) {
    await call(clients[i % clients.length], 'ModelInfer', rawRequest('alias', 'FP32'));
  }
  for (const client of clients) {
    const after = await stats(client);
    assert.equal(after.name, 'alias');
    assert.equal(Number(after.inference_count) - Number(before.inference_count), 5);
    assert.equal(Number(after.inference_stats.success.count) - Number(before.inference_stats.success.count), 5);
    assert.ok(Number(after.inference_stats.compute_infer.ns) > Number(before.inference_stats.compute_infer.ns));
    assert.ok(Number(after.last_inference) <= Date.now() + 1000);
  }
});

check('the repository loads and unloads by either message', async () => {
  const state = async () =>
    (await call(clients[0], 'RepositoryIndex', {})).models.find((m) => m.name === 'id_INT8').state;
  const until = async (wanted) => {
    const deadline = Date.now() + TIMEOUT_MS;
    while ((await state()) !== wanted) {
      assert.ok(Date.now() < deadline, `state is not ${wanted}`);
    }
  };
  for (const field of ['model_name', 'repository_name']) {
    const loaded = await call(clients[0], 'RepositoryModelLoad', { [field]: 'id_INT8' });
    assert.equal(loaded.isLoaded, true);
    await until('READY');
    const ready = await call(clients[0], 'RepositoryIndex', { ready: true });
    assert.ok(ready.models.every((m) => m.state === 'READY'));
    const gone = await call(clients[0], 'RepositoryModelUnload', { [field]: 'id_INT8' });
    assert.equal(gone.isUnloaded, true);
    await until('UNAVAILABLE');
  }
  await fails(grpc.status.NOT_FOUND, call(clients[0], 'RepositoryModelLoad', { model_name: 'nobody' }));
  await fails(grpc.status.FAILED_PRECONDITION, call(clients[0], 'RepositoryModelLoad', { model_name: 'bad' }));
});

function stream(client, requests, halfClose = true) {
  return new Promise((resolve) => {
    const answers = [];
    const open = client.ModelStreamInfer({ deadline: Date.now() + TIMEOUT_MS });
    open.on('data', (answer) => {
      answers.push(answer);
      if (!halfClose && answers.length === requests.length) {
        open.cancel();
      }
    });
    open.on('error', (error) => resolve({ answers, code: error.code }));
    open.on('end', () => resolve({ answers, code: grpc.status.OK }));
    requests.forEach((request) => open.write(request));
    if (halfClose) {
      open.end();
    }
  });
}

check('a stream answers in order, whatever model a message names', async () => {
  const types = Object.keys(TYPES);
  const requests = [];
  for (let i = 0; i < 300; i++) {
    const type = types[i % types.length];
    requests.push(rawRequest(`id_${type}`, type, { id: `${i}` }));
  }
  for (const client of clients) {
    const { answers, code } = await stream(client, requests);
    assert.equal(code, grpc.status.OK);
    assert.equal(answers.length, requests.length);
    answers.forEach((answer, i) => {
      assert.equal(answer.error_message, '');
      assert.equal(answer.infer_response.id, `${i}`);
      assert.equal(answer.infer_response.model_name, requests[i].model_name);
      assert.deepEqual(answer.infer_response.raw_output_contents, requests[i].raw_input_contents);
    });
  }
});

check('a stream carries errors in place and goes on, and may be cancelled', async () => {
  const requests = [
    rawRequest('alias', 'FP32', { id: 'a' }),
    rawRequest('nobody', 'FP32', { id: 'b' }),
    rawRequest('alias', 'INT8', { id: 'c' }),
    typedRequest('alias', 'FP32', { id: 'd' }),
  ];
  const { answers } = await stream(clients[0], requests);
  assert.deepEqual(answers.map((a) => a.infer_response.id), ['a', 'b', 'c', 'd']);
  assert.deepEqual(answers.map((a) => a.error_message !== ''), [false, true, true, false]);
  const cancelled = await stream(clients[0], requests.slice(0, 1), false);
  assert.equal(cancelled.code, grpc.status.CANCELLED);
});

check('tensors are read from and written to shared memory', async () => {
  if (!fs.existsSync('/dev/shm')) {
    return;
  }
  const key = `/orlop-conformance-${process.pid}`;
  const file = `/dev/shm${key}`;
  fs.writeFileSync(file, Buffer.concat([TYPES.FP32[2], Buffer.alloc(56)]));
  try {
    for (const client of clients) {
      await call(client, 'SystemSharedMemoryUnregister', {});
      await call(client, 'SystemSharedMemoryRegister', { name: 'r', key, offset: 0, byte_size: 64 });
      const status = await call(client, 'SystemSharedMemoryStatus', { name: 'r' });
      assert.deepEqual(status.regions.r, { name: 'r', key, offset: '0', byte_size: '64' });
      await fails(
        grpc.status.INVALID_ARGUMENT,
        call(client, 'SystemSharedMemoryRegister', { name: 's', key: '../etc/passwd', byte_size: 8 }),
        'plain name',
      );
    }
    const place = (offset, size) => ({
      shared_memory_region: { string_param: 'r' },
      shared_memory_offset: { int64_param: offset },
      shared_memory_byte_size: { int64_param: size },
    });
    for (const client of clients) {
      fs.writeSync(fs.openSync(file, 'r+'), Buffer.alloc(8), 0, 8, 32);
      const answer = await call(client, 'ModelInfer', {
        model_name: 'id_FP32',
        inputs: [{ name: 'x', datatype: 'FP32', shape: [1, 2], parameters: place(0, 8) }],
        outputs: [{ name: 'y', parameters: place(32, 16) }],
      });
      assert.equal(answer.outputs[0].parameters.shared_memory_byte_size.int64_param, '8');
      assert.deepEqual(fs.readFileSync(file).subarray(32, 40), TYPES.FP32[2]);
    }
  } finally {
    for (const client of clients) {
      await call(client, 'SystemSharedMemoryUnregister', { name: 'r' });
    }
    fs.unlinkSync(file);
  }
});

check('outputs come as their best classes', async () => {
  const answer = await call(clients[0], 'ModelInfer', {
    ...typedRequest('id_FP32', 'FP32'),
    outputs: [{ name: 'y', parameters: { classification: { int64_param: 1 } } }],
  });
  assert.equal(answer.outputs[0].datatype, 'BYTES');
  assert.deepEqual(answer.outputs[0].contents.bytes_contents.map(String), ['1.500000:0']);
});

check('there is no CUDA memory and there are no traces, and both say so', async () => {
  assert.deepEqual((await call(clients[0], 'CudaSharedMemoryStatus', {})).regions, {});
  await call(clients[0], 'CudaSharedMemoryUnregister', {});
  await fails(grpc.status.UNIMPLEMENTED, call(clients[0], 'CudaSharedMemoryRegister', { name: 'g' }));
  const traces = await call(clients[0], 'TraceSetting', {});
  assert.deepEqual(traces.settings.trace_level.value, ['OFF']);
  await fails(
    grpc.status.UNIMPLEMENTED,
    call(clients[0], 'TraceSetting', { settings: { trace_level: { value: ['TIMESTAMPS'] } } }),
  );
  const log = await call(clients[0], 'LogSettings', {});
  assert.equal(typeof log.settings.log_info.bool_param, 'boolean');
});

check('health is told by service name', async () => {
  const health = new grpc.Client(addresses[0], grpc.credentials.createInsecure());
  const ask = (service) =>
    new Promise((resolve, reject) => {
      const encoded = Buffer.concat([Buffer.from([0x0a, service.length]), Buffer.from(service)]);
      const same = (buffer) => buffer;
      health.makeUnaryRequest('/grpc.health.v1.Health/Check', same, same, encoded, (error, answer) =>
        error ? reject(error) : resolve(answer),
      );
    });
  assert.deepEqual(await ask('inference.GRPCInferenceService'), Buffer.from([0x08, 0x01]));
  assert.deepEqual(await ask(''), Buffer.from([0x08, 0x01]));
  await fails(grpc.status.NOT_FOUND, ask('nobody'));
  health.close();
});

(async () => {
  let failed = 0;
  for (const { name, run } of checks) {
    try {
      await run();
      console.log(`ok ${name}`);
    } catch (error) {
      failed++;
      console.log(`FAILED ${name}: ${error.stack}`);
    }
  }
  console.log(`${checks.length} checks, ${failed} failed`);
  clients.forEach((client) => client.close());
  process.exit(failed === 0 ? 0 : 1);
})();
